"""The gate over all classes (cckeras/runs/gate.py) as a part of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cckeras.export.static import Input, StaticLayers
from cckeras.runs import gate


class WatchedLayers(StaticLayers):
    """They keep the mean and the standard deviation `[B, C]` of what enters
    each convolution that does not narrow it, in `seen`, by the layer's name."""

    def __init__(self, layers: StaticLayers):
        super().__init__(layers.network, layers.kernels, layers.norms)
        self.seen = {}

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        if x.shape[-1] <= filters:
            mean = tf.reduce_mean(x, (1, 2))
            variance = tf.reduce_mean(x * x, (1, 2)) - mean * mean
            self.seen[name] = mean, tf.sqrt(tf.nn.relu(variance))
        return super().conv(
            x,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            name=name,
        )

    own_conv = conv


@dataclass(frozen=True)
class Gate:
    """Which class of which task an image is of.

    Args:
        source: the network's input.
        layers: of the first task's network.
        numbers: what is made of what its convolutions see, in their order.
    """

    source: Input
    layers: StaticLayers
    numbers: gate.Gate

    def scores(self, images) -> tf.Tensor:
        """Return `[B, C]`, whose softmax are probabilities of the classes of
        all tasks, of images `[B, H, W, 3]` in 0..255."""
        watched = WatchedLayers(self.layers)
        self.source.features(images, watched)
        total = tf.constant(self.numbers.bias.astype(np.float32))
        start = 0
        # A product for each part: XNNPACK joins five tensors at most.
        for name in sorted(watched.seen):
            for part in watched.seen[name]:
                stop = start + part.shape[-1]
                total = total + self._product(part, slice(start, stop))
                start = stop
        return total

    def by_task(self, scores: tf.Tensor) -> tf.Tensor:
        """Return scores of an image, `[1, C]`, as `[tasks, classes]`: of as
        many classes for each as the largest has."""
        counts = self.numbers.counts
        total, largest = sum(counts), max(counts)
        places = np.full((len(counts), largest), total)
        starts = np.cumsum([0, *counts])
        for place, start, count in zip(places, starts, counts, strict=False):
            place[:count] = np.arange(start, start + count)
        never = tf.constant([gate.NEVER], tf.float32)
        padded = tf.concat([tf.reshape(scores, (-1,)), never], 0)
        return tf.gather(padded, tf.constant(places, tf.int32))

    def _product(self, part, place):
        centre, scale, kernel = (
            values[place].astype(np.float32)
            for values in (
                self.numbers.centre,
                self.numbers.scale,
                self.numbers.kernel,
            )
        )
        # Of one size, or eight bits would leave nothing of the small ones.
        return tf.matmul(part * (1 / scale) - centre / scale, kernel)
