"""How a batch is divided over devices and processes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cckeras.data.pipeline import (
    evaluation_batches,
    evaluation_steps,
    training_batches,
)
from cckeras.data.placement import ALONE, Placement
from cckeras.data.sources import ArrayImages, Split


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_parts_make_the_batch(count, processes, each, random):
    values = np.array([random.random() for _ in range(count)])
    places = [
        Placement(processes * each, processes, number)
        for number in range(processes)
    ]
    filled = places[0].fill(np.arange(count))
    assert len(filled) % (processes * each) == 0
    assert len(filled) < count + processes * each
    parts = [place.part(filled) for place in places]
    assert len({len(part) for part in parts}) == 1
    assert np.concatenate(parts)[:count].tolist() == list(range(count))
    # The mean over all of a batch is that of its own images alone.
    weights = places[0].weights(count, len(filled))
    np.testing.assert_allclose(
        (weights * values[filled]).mean(), values.mean(), rtol=1e-5
    )


def split(count):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Split(
        ArrayImages(np.tile(images, (1, 4, 4, 3))), np.arange(count) % 3
    )


def test_batches_of_processes_make_those_of_one():
    options = {
        "seed": 0,
        "task": "a",
        "batch_size": 6,
        "augmentation": "crop_and_flip",
        "first_epoch": 0,
        "epochs": 2,
    }
    whole = list(training_batches(split(16), **options))
    parts = [
        list(
            training_batches(
                split(16), **options, placement=Placement(4, 2, number)
            )
        )
        for number in range(2)
    ]
    for (images, labels), first, second in zip(whole, *parts, strict=True):
        count = len(labels)
        joined = [
            np.concatenate(pair) for pair in zip(first, second, strict=True)
        ]
        np.testing.assert_array_equal(joined[0][:count], images)
        np.testing.assert_array_equal(joined[1][:count], labels)
        assert (joined[2][:count] > 0).all()
        assert not joined[2][count:].any()


def test_evaluation_counts_no_image_twice():
    data = split(103)
    batches = iter(evaluation_batches(data, Placement(8, 1, 0)))
    seen = []
    for _ in range(evaluation_steps(data)):
        images, _, weights = next(batches)
        assert len(images) % 8 == 0
        seen += images[weights > 0, 0, 0, 0].tolist()
    assert seen == list(range(103))
    assert len(next(iter(evaluation_batches(data, ALONE)))) == 2
