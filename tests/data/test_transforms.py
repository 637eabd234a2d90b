"""Augmentations against slow loops that draw the same random numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cckeras.data.transforms import (
    TRANSFORMS,
    crop_and_flip,
    crop_box,
    flip,
    random_crops,
    shift,
    transform,
)
from cckeras.errors import InputError


def pixel(image, row, column):
    """Return a pixel, zero outside of the image."""
    height, width, channels = image.shape
    if 0 <= row < height and 0 <= column < width:
        return image[row, column]
    return np.zeros(channels, image.dtype)


def slow_move(image, down, right, flip):
    """Return what is seen through a window moved by some pixels."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            source = width - 1 - column if flip else column
            out[row, column] = pixel(image, row + down, source + right)
    return out


def slow_crop_and_flip(images, rng, pad):
    tops, lefts = rng.integers(0, 2 * pad + 1, (2, len(images)))
    flips = rng.random(len(images)) < 0.5
    return np.array(
        [
            slow_move(image, top - pad, left - pad, flip)
            for image, top, left, flip in zip(
                images, tops, lefts, flips, strict=True
            )
        ]
    )


def slow_shift(images, rng):
    tops, lefts = rng.integers(0, 3, (2, len(images)))
    return np.array(
        [
            slow_move(image, top - 1, left - 1, False)
            for image, top, left in zip(images, tops, lefts, strict=True)
        ]
    )


def some_images(seed, batch, height, width):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (batch, height, width, 3), np.uint8)


sizes = st.integers(1, 9)
seeds = st.integers(0, 999)


@given(seeds, st.integers(1, 5), sizes, sizes, st.integers(0, 5))
def test_crop_and_flip_equals_a_slow_loop(seed, batch, height, width, pad):
    images = some_images(seed, batch, height, width)
    before = images.copy()
    found = crop_and_flip(images, np.random.default_rng(seed), pad)
    expected = slow_crop_and_flip(images, np.random.default_rng(seed), pad)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == images.dtype
    np.testing.assert_array_equal(images, before)


@given(seeds, st.integers(1, 5), sizes, sizes)
def test_shift_equals_a_slow_loop(seed, batch, height, width):
    images = some_images(seed, batch, height, width)
    found = shift(images, np.random.default_rng(seed))
    expected = slow_shift(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == images.dtype


def test_every_place_and_both_sides_occur_about_equally_often():
    images = np.repeat(some_images(0, 1, 8, 8), 3000, axis=0)
    found = crop_and_flip(images, np.random.default_rng(0))
    views, counts = np.unique(found, axis=0, return_counts=True)
    assert len(views) == 9 * 9 * 2
    assert counts.max() <= 3 * 3000 / len(views)


def test_a_flip_mirrors_half_and_changes_nothing_else():
    images = some_images(5, 400, 3, 4)
    found = flip(images, np.random.default_rng(2))
    mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    same = (found == images).all((1, 2, 3))
    assert (mirrored | same).all()
    assert 150 < mirrored.sum() < 250


@given(seeds, st.integers(1, 500), st.integers(1, 500))
def test_a_crop_is_within_the_picture_and_neither_small_nor_flat(
    seed, width, height
):
    left, top, right, bottom = crop_box(
        (width, height), np.random.default_rng(seed)
    )
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    wide, high = right - left, bottom - top
    assert 3 / 4 - 1e-6 <= wide / high <= 4 / 3 + 1e-6
    # A long picture has no such box of 8 % of its area.
    whole = min(width, height * 4 / 3) * min(height, width * 4 / 3)
    assert wide * high >= 0.08 * min(whole, width * height) - 1e-6


def test_crops_of_one_colour_keep_it_and_shapes():
    images = np.full((3, 6, 5, 3), (9, 80, 200), np.uint8)
    found = random_crops(images, np.random.default_rng(0))
    np.testing.assert_array_equal(found, images)


def test_none_changes_nothing(rng):
    images = some_images(1, 3, 4, 4)
    assert transform("none")(images, rng) is images


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transform_keeps_shape_and_type(name, rng):
    images = some_images(2, 3, 6, 5)
    found = transform(name)(images, rng)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(InputError, match="Did you mean 'crop_and_flip'"):
        transform("crop_flip")
