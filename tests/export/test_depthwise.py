"""Depthwise convolutions with kernels of run time, beside TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from cckeras.export.depthwise import run_time_depthwise


@pytest.mark.parametrize("size", [(6, 6), (5, 8), (7, 9), (1, 1)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_each_image_has_its_own_kernel(rng, size, strides, kernel):
    images = rng.normal(size=(2, *size, 4)).astype("float32")
    kernels = rng.normal(size=(2, kernel, kernel, 4)).astype("float32")
    taps = tf.reshape(tf.constant(kernels), (2, -1, 4))
    result = run_time_depthwise(tf.constant(images), taps, kernel, strides)
    for image, own, answer in zip(images, kernels, result, strict=True):
        expected = tf.nn.depthwise_conv2d(
            image[None], own[..., None], (1, strides, strides, 1), "SAME"
        )
        np.testing.assert_allclose(answer, expected[0], rtol=1e-4, atol=1e-5)
