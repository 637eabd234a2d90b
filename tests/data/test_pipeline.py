"""Batches are a pure function of (seed, task, epoch, position)."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cckeras.data.pipeline import (
    EVALUATION_BATCH,
    evaluation_batches,
    evaluation_steps,
    steps_per_epoch,
    training_batches,
)
from cckeras.data.sources import ArrayImages, Split


def numbered_split(size):
    """Return images that say their own place in every pixel."""
    places = np.arange(size)
    images = np.zeros((size, 4, 4, 3), np.uint8)
    images += (places[:, None, None, None] + 1).astype(np.uint8)
    return Split(ArrayImages(images), places.astype(np.int64))


def batches(size=23, first=0, last=2, **changes):
    arguments = {
        "seed": 7,
        "task": "digits",
        "batch_size": 5,
        "augmentation": "shift",
        "first_epoch": first,
        "epochs": last,
        **changes,
    }
    return list(training_batches(numbered_split(size), **arguments))


def assert_equal_batches(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def order(found):
    return tuple(np.concatenate([labels for _, labels in found]))


def test_images_are_float32_and_labels_int64():
    images, labels = batches()[0]
    assert (images.dtype, images.shape) == (np.float32, (5, 4, 4, 3))
    assert (labels.dtype, labels.shape) == (np.int64, (5,))
    assert images.max() > 1


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=8)
def test_every_epoch_has_every_image_once_and_a_last_partial_batch(
    size, batch_size, epochs
):
    found = batches(size, 0, epochs, batch_size=batch_size)
    steps = steps_per_epoch(size, batch_size)
    assert len(found) == steps * epochs
    for epoch in range(epochs):
        part = found[epoch * steps : (epoch + 1) * steps]
        assert sorted(order(part)) == list(range(size))
        sizes = [len(labels) for _, labels in part]
        assert sizes[:-1] == [batch_size] * (steps - 1)
        assert sizes[-1] == size - batch_size * (steps - 1)


def test_images_stay_with_their_labels():
    for images, labels in batches():
        for image, label in zip(images, labels, strict=True):
            assert set(np.unique(image)) <= {0, label + 1}
            assert image[1:3, 1:3].min() == label + 1


@pytest.mark.parametrize("first", [1, 2, 3])
def test_resumed_at_an_epoch_equals_the_uninterrupted_run(first):
    whole = batches(first=0, last=4)
    steps = len(whole) // 4
    resumed = batches(first=first, last=4)
    assert_equal_batches(resumed, whole[first * steps :])


def test_how_many_epochs_follow_does_not_matter():
    assert_equal_batches(batches(last=1), batches(last=3)[:5])


def test_epochs_differ_in_order_and_augmentation():
    orders, pictures = set(), set()
    for epoch in range(4):
        found = batches(first=epoch, last=epoch + 1)
        orders.add(order(found))
        ordered = np.concatenate([images for images, _ in found])
        places = np.argsort(order(found))
        pictures.add(ordered[places].tobytes())
    assert len(orders) == len(pictures) == 4


@pytest.mark.parametrize("change", [{"seed": 8}, {"task": "letters"}])
def test_seeds_and_tasks_differ(change):
    assert order(batches(last=1)) != order(batches(last=1, **change))


def test_augmentation_does_not_change_the_order():
    plain = batches(augmentation="none")
    assert order(plain) == order(batches())
    for images, labels in plain:
        expected = np.zeros_like(images) + labels[:, None, None, None] + 1
        np.testing.assert_array_equal(images, expected)


def test_no_epoch_left_gives_no_batch():
    assert batches(first=2, last=2) == []


@pytest.mark.parametrize("size", [1, 99, 100, 101, 250])
def test_evaluation_batches_are_in_order_and_begin_again(size):
    split = numbered_split(size)
    steps = evaluation_steps(split)
    assert steps == -(-size // EVALUATION_BATCH)
    found = list(itertools.islice(evaluation_batches(split), 2 * steps))
    assert order(found[:steps]) == tuple(range(size))
    assert_equal_batches(found[steps:], found[:steps])
    assert found[0][0].dtype == np.float32


def test_steps_count_the_partial_batch():
    assert [steps_per_epoch(n, 32) for n in (1, 31, 32, 33)] == [1, 1, 1, 2]


class Places:
    """Images that are crops: each shows where its own crop began."""

    def __len__(self):
        return 7

    def crops(self, indices, rng):
        starts = rng.integers(0, 256, (len(indices), 1, 1, 1), np.uint8)
        return np.broadcast_to(starts, (len(indices), 4, 4, 3))


def test_crops_are_the_same_again_and_differ_between_epochs():
    split = Split(Places(), np.arange(7))

    def pictures(epoch):
        found = training_batches(
            split,
            seed=7,
            task="digits",
            batch_size=7,
            augmentation="resized_crop_and_flip",
            first_epoch=epoch,
            epochs=epoch + 1,
        )
        ((images, labels),) = found
        return images[np.argsort(labels), 0, 0, 0].tolist()

    assert pictures(0) == pictures(0)
    assert pictures(0) != pictures(1)


def test_workers_give_the_same_batches():
    alone = batches(last=1)
    assert_equal_batches(batches(last=1, workers=2), alone)
