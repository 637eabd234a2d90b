"""Routing along few directions: exact with all of them, the mean with none."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cckeras.export.low_rank import reduced
from cckeras.export.network import Convolution
from tests.layers import oracle

EXPERTS = 4


def convolution(rng, kernel=3, channels=5):
    experts = {
        task: rng.normal(size=(kernel, kernel, channels, 6)).astype("float32")
        for task in "abcd"[:EXPERTS]
    }
    router = rng.normal(size=(channels, EXPERTS)).astype("float32")
    return Convolution(experts, router, np.zeros(EXPERTS, np.float32))


def routing_of(conv, images):
    pooled = images.mean((1, 2), dtype=np.float64)
    return oracle.sigmoid(pooled @ conv.router_kernel + conv.router_bias)


def some(rng, count=9, channels=5):
    return rng.normal(size=(count, 6, 7, channels)).astype("float32")


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_with_all_directions_it_is_the_routed_convolution(
    rng, strides, channels, padding
):
    conv = convolution(rng, channels=channels)
    fitted = some(rng, channels=channels)
    routed = reduced(conv, routing_of(conv, fitted), EXPERTS)
    images = some(rng, channels=channels)
    kernels = np.stack(list(conv.experts.values()))
    expected = [
        oracle.convolution(
            image,
            np.tensordot(weights, kernels, 1),
            (strides, strides),
            padding,
            (1, 1),
            1,
        )
        for image, weights in zip(images, routing_of(conv, images), strict=True)
    ]
    many = routed.convolution(tf.constant(images), strides, padding)
    np.testing.assert_allclose(many, expected, rtol=1e-3, atol=1e-3)
    one = routed.convolution(tf.constant(images[:1]), strides, padding)
    np.testing.assert_allclose(one[0], expected[0], rtol=1e-3, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), rank=st.integers(1, EXPERTS + 2))
def test_more_directions_come_no_less_close_to_the_weights(seed, rank):
    rng = np.random.default_rng(seed)
    conv = convolution(rng, kernel=1)
    weights = routing_of(conv, some(rng))

    def error(rank):
        routed = reduced(conv, weights, rank)
        own = (weights @ routed.directions + routed.offset)[:, 1:]
        back = weights.mean(0) + own @ routed.directions[:, 1:].T
        return np.square(back - weights).sum()

    assert reduced(conv, weights, rank).rank == min(rank, EXPERTS)
    assert error(rank + 1) <= error(rank) + 1e-9


def test_the_first_kernel_is_that_of_the_mean(rng):
    conv = convolution(rng)
    weights = routing_of(conv, some(rng))
    routed = reduced(conv, weights, 1)
    np.testing.assert_allclose(
        routed.bank[0], conv.mixed(weights.mean(0)), rtol=1e-6
    )
    assert routed.offset[0] == 1
    assert not routed.directions[:, 0].any()
