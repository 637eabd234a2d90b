"""Training augmentations, from a generator per batch."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cckeras.errors import choose


def crop_and_flip(images, rng: np.random.Generator, pad: int = 4):
    """Zero-pad, crop back at a random place, flip half (methods.md 1.1).

    Args:
        images: `[B, H, W, C]`.
        rng: generator that decides.
        pad: pixels on every side.

    Returns:
        an array of the same shape and dtype.
    """
    batch, height, width, channels = images.shape
    padded = np.zeros(
        (batch, height + 2 * pad, width + 2 * pad, channels), images.dtype
    )
    padded[:, pad : pad + height, pad : pad + width] = images
    tops, lefts = rng.integers(0, 2 * pad + 1, (2, batch))
    flips = rng.random(batch) < 0.5
    out = np.empty_like(images)
    for index in range(batch):
        top, left = tops[index], lefts[index]
        crop = padded[index, top : top + height, left : left + width]
        out[index] = crop[:, ::-1] if flips[index] else crop
    return out


def shift(images, rng: np.random.Generator):
    """Move by one pixel at most, without flips (for digits)."""
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tops, lefts = rng.integers(0, 3, (2, batch))
    return np.stack(
        [
            padded[i, tops[i] : tops[i] + height, lefts[i] : lefts[i] + width]
            for i in range(batch)
        ]
    )


def flip(images, rng: np.random.Generator):
    """Mirror half of the images."""
    flips = rng.random(len(images)) < 0.5
    return np.where(flips[:, None, None, None], images[:, :, ::-1], images)


def crop_box(size, rng: np.random.Generator) -> tuple[float, ...]:
    """Return the box of a random resized crop (Szegedy et al. 2015).

    Its area is 8 to 100 % of the picture's, its width to its height 3:4 to
    4:3, as in torchvision's `RandomResizedCrop`.

    Args:
        size: `(width, height)` of the picture.
        rng: decides.

    Returns:
        `(left, top, right, bottom)`.
    """
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1)
        shape = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        wide, high = np.sqrt(area * shape), np.sqrt(area / shape)
        if wide <= width and high <= height:
            left = rng.uniform(0, width - wide)
            top = rng.uniform(0, height - high)
            return left, top, left + wide, top + high
    # The largest box in the middle that is no flatter than that.
    wide, high = min(width, height * 4 / 3), min(height, width * 4 / 3)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def random_crops(images, rng: np.random.Generator):
    """Return a random resized crop of each of `[B, H, W, 3]`, of that size."""
    out = np.empty_like(images)
    for place, image in enumerate(images):
        height, width = image.shape[:2]
        out[place] = Image.fromarray(image).resize(
            (width, height),
            Image.Resampling.BILINEAR,
            box=crop_box((width, height), rng),
        )
    return out


def unchanged(images, rng: np.random.Generator):
    """Return the images as they are."""
    return images


# Before the one named, each image is a random resized crop of its source.
RESIZED_CROP = "resized_crop_and_flip"
TRANSFORMS = {
    "crop_and_flip": crop_and_flip,
    RESIZED_CROP: flip,
    "flip": flip,
    "shift": shift,
    "none": unchanged,
}


def transform(name: str):
    """Return the augmentation of a name.

    Raises:
        InputError: if there is none of that name.
    """
    return TRANSFORMS[choose("augmentation", name, TRANSFORMS)]
