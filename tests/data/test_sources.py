"""Splits: seeded, stratified, disjoint, complete; fingerprints of data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cckeras.data.sources import ArrayImages, Split, TaskData, stratified

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=60)
fractions = st.floats(0, 1)
seeds = st.integers(0, 2**32) | st.lists(st.integers(0, 99), min_size=1)


@given(label_lists, fractions, seeds)
def test_a_stratified_split_is_a_partition_in_order(labels, fraction, seed):
    rest, chosen = stratified(np.array(labels), fraction, seed)
    assert sorted([*rest, *chosen]) == list(range(len(labels)))
    assert list(rest) == sorted(rest)
    assert list(chosen) == sorted(chosen)


@given(label_lists, fractions, seeds)
def test_every_class_gives_its_share(labels, fraction, seed):
    labels = np.array(labels)
    rest, chosen = stratified(labels, fraction, seed)
    for label in np.unique(labels):
        left, taken = (labels[rest] == label), (labels[chosen] == label)
        count = left.sum() + taken.sum()
        if count == 1:
            assert taken.sum() == 0
        else:
            assert left.sum() >= 1
            assert taken.sum() >= 1
            nearest = np.clip(fraction * count, 1, count - 1)
            assert abs(taken.sum() - nearest) <= 0.5


@given(label_lists, fractions, seeds)
def test_a_split_depends_on_nothing_but_its_arguments(labels, fraction, seed):
    first = stratified(np.array(labels), fraction, seed)
    again = stratified(np.array(labels), fraction, seed)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_split_of_the_same_sizes():
    labels = np.repeat(np.arange(5), 100)
    splits = [stratified(labels, 0.2, [0, seed])[1] for seed in range(3)]
    assert {len(chosen) for chosen in splits} == {100}
    assert len({tuple(chosen) for chosen in splits}) == 3


@pytest.fixture
def split(rng):
    images = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    return Split(ArrayImages(images), np.arange(20, dtype=np.int64) % 3)


def test_a_subset_of_a_subset_reads_the_right_images(split):
    part = split.subset(np.array([9, 3, 5, 7])).subset(np.array([2, 0]))
    assert len(part) == len(part.images) == 2
    np.testing.assert_array_equal(part.labels, split.labels[[5, 9]])
    np.testing.assert_array_equal(
        part.images.read(np.array([1, 0, 1])), split.images.array[[9, 5, 9]]
    )


def test_a_fingerprint_is_repeatable(split):
    copy = Split(ArrayImages(split.images.array.copy()), split.labels.copy())
    assert copy.fingerprint() == split.fingerprint()


def test_a_fingerprint_changes_with_labels_number_and_pixels(split):
    labels = split.labels.copy()
    labels[4] += 1
    pixels = split.images.array.copy()
    pixels[0, 0, 0, 0] ^= 1
    others = [
        Split(split.images, labels),
        Split(ArrayImages(pixels), split.labels),
        split.subset(np.arange(19)),
    ]
    prints = {part.fingerprint() for part in (split, *others)}
    assert len(prints) == 4


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_small_and_empty_splits_have_fingerprints(split, size):
    part = split.subset(np.arange(size))
    assert len(part.fingerprint()) == 64


def test_a_task_without_test_or_validation_has_a_fingerprint(split):
    empty = split.subset(np.arange(0))
    classes = ("a", "b", "c")
    prints = {
        TaskData(classes, split, *parts).fingerprint()
        for parts in ((empty, empty), (split, empty), (empty, split))
    }
    assert len(prints) == 3
