"""Plain networks to compare an exported file with: the floor, and a big one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from cckeras.export.convert import to_tflite
from cckeras.export.mixed import convolution
from cckeras.export.static import Input, static_network

# Parameters after twenty tasks to one network, of CPG (paper, table I).
CPG_SIZE = 16.34


class RandomLayers:
    """Constant layers with random values: time does not depend on them.

    Args:
        width: every convolution has so many times its channels.
        classes: number of classes.
        values: a function of a shape, that makes them.
    """

    def __init__(self, width: float, classes: int, values: Callable):
        self.width = width
        self.classes = classes
        self.parameters = 0
        self._make = values

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        del name
        filters = round(filters * self.width)
        shape = (kernel_size, kernel_size, x.shape[-1], filters)
        # Like He's: activations neither vanish nor overflow.
        kernel = self._values(shape) * (2 / math.prod(shape[:3])) ** 0.5
        return convolution(x, kernel, strides, padding)

    own_conv = conv

    def depthwise(self, x, kernel_size, *, strides=1, name):
        del name
        shape = (kernel_size, kernel_size, x.shape[-1], 1)
        kernel = self._values(shape) / kernel_size
        steps = (1, strides, strides, 1)
        return tf.nn.depthwise_conv2d(x, kernel, steps, "SAME")

    def norm(self, x, *, name, epsilon=None):
        del name, epsilon
        channels = x.shape[-1]
        self.parameters += 2 * channels
        scale = np.linspace(0.9, 1.1, channels, dtype=np.float32)
        return x * tf.constant(scale) + tf.constant(scale - 1)

    def probabilities(self, features):
        kernel = self._values((features.shape[-1], self.classes)) / 100
        return tf.nn.softmax(tf.matmul(features, kernel))

    def _values(self, shape):
        self.parameters += math.prod(shape)
        return self._make(shape)


def plain_model(
    source: Input, classes: int, size: float = 1.0, quantization: str = "none"
) -> bytes:
    """Return a plain network of a backbone as a `.tflite` file.

    Args:
        source: the backbone and its input.
        classes: number of classes.
        size: its parameters, to those of the backbone as it is.
        quantization: one of `cckeras.names.QUANTIZATIONS`.
    """
    wanted = size * _parameters(source, 1.0, classes)
    low, high = 0.1, 1.0
    while _parameters(source, high, classes) < wanted:
        high *= 2
    while high - low > 0.002:
        middle = (low + high) / 2
        if _parameters(source, middle, classes) < wanted:
            low = middle
        else:
            high = middle
    rng = np.random.default_rng(0)
    layers = RandomLayers(
        1.0 if size == 1.0 else high,
        classes,
        lambda shape: rng.normal(size=shape).astype(np.float32),
    )
    shape = (1, source.size, source.size, 3)
    # Two, since ranges of random values are of no use: they need only exist.
    noise = rng.uniform(0, 255, (2, *shape))
    return to_tflite(
        {"classify": static_network(source, layers)},
        quantization,
        [("classify", {"image": x.astype(np.float32)}) for x in noise],
    )


def _parameters(source, width, classes):
    # An operator that makes zeros takes no memory where it is only traced.
    layers = RandomLayers(width, classes, tf.zeros)
    classify = static_network(source, layers)
    classify.get_concrete_function()
    return layers.parameters
