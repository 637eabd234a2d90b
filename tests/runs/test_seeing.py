"""What the first network sees in an image."""

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.data.sources import ArrayImages, Split
from cckeras.runs.seeing import (
    see,
    see_split,
    seeing_model,
    seen_numbers,
    watched,
)
from tests.runs.seen import small_network


@pytest.fixture
def network():
    return small_network()


def test_mean_and_deviation_of_every_channel_are_seen(rng, network):
    images = rng.uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    seen = see(seeing_model(network), images)
    inner = ops.convert_to_numpy(
        keras.Model(network.input, network.get_layer("one").output)(images)
    )
    expected = [
        numbers
        for x in (images / 255, inner)
        for numbers in (x.mean((1, 2)), x.std((1, 2)))
    ]
    assert seen.shape == (3, 2 * (3 + 5))
    np.testing.assert_allclose(seen, np.concatenate(expected, 1), atol=1e-4)


def test_a_convolution_that_narrows_is_not_watched(network):
    image, inner = network.input, network.get_layer("one").output
    narrow = keras.layers.Conv2D(2, 1, name="narrow")(inner)
    wider = keras.Model(image, [network.output, narrow])
    assert watched(wider) == watched(network)
    assert seen_numbers(network) == 2 * (3 + 5)


def test_a_split_is_seen_in_parts(rng, network):
    images = rng.integers(0, 256, (230, 8, 8, 3)).astype(np.uint8)
    split = Split(ArrayImages(images), np.zeros(230, int))
    seeing = seeing_model(network)
    whole = see(seeing, images.astype(np.float32))
    np.testing.assert_allclose(see_split(seeing, split), whole, atol=1e-4)
    few = see_split(seeing, split, 7)
    np.testing.assert_allclose(few[-1], whole[-1], atol=1e-4)
    assert len(few) == 7
