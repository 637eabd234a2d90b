"""Training augmentations of whole batches, from a generator per batch."""

from __future__ import annotations

import numpy as np

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


def unchanged(images, rng: np.random.Generator):
    """Return the images as they are."""
    return images


TRANSFORMS = {
    "crop_and_flip": crop_and_flip,
    "shift": shift,
    "none": unchanged,
}


def transform(name: str):
    """Return the augmentation of a name.

    Raises:
        InputError: if there is none of that name.
    """
    return TRANSFORMS[choose("augmentation", name, TRANSFORMS)]
