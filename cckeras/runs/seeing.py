"""What the first task's network sees in an image.

Every task can use it: it never changes. The means and the standard deviations
of what enters its convolutions differ between tasks, and between classes that
it has never learned, more than the certainty of the tasks' own networks does
(docs/design.md).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from cckeras.data.sources import Split
from cckeras.layers.task_conv import TaskConv2D

BATCH = 100


def watched(model: keras.Model) -> list[keras.KerasTensor]:
    """Return what enters a network's convolutions, by the layers' names: of
    those that have as many outputs as inputs, or more."""
    layers = sorted(model.layers, key=lambda layer: layer.name)
    found = [
        (_unpadded(layer.input), layer.output)
        for layer in layers
        if isinstance(layer, TaskConv2D | keras.layers.Conv2D)
    ]
    return [x for x, y in found if x.shape[-1] <= y.shape[-1]]


def seen_numbers(model: keras.Model) -> int:
    """Return how many numbers `model` sees in an image."""
    return 2 * sum(x.shape[-1] for x in watched(model))


def seeing_model(model: keras.Model) -> keras.Model:
    """Return the model from images to what a network's convolutions see.

    Args:
        model: the first task's network.

    Returns:
        a model with output `[B, F]`: of each that is `watched`, the mean and
        the deviation of every channel.
    """
    parts = []
    for x in watched(model):
        x = ops.cast(x, "float32")
        mean = ops.mean(x, (1, 2))
        variance = ops.mean(x * x, (1, 2)) - mean * mean
        parts += [mean, ops.sqrt(ops.relu(variance))]
    return keras.Model(model.input, ops.concatenate(parts, -1))


def _unpadded(x):
    """Return a tensor before the padding that a convolution does as a layer
    of its own."""
    layer = x._keras_history.operation
    padding = isinstance(layer, keras.layers.ZeroPadding2D)
    return layer.input if padding else x


def see(seeing: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return what is seen of images `[N, H, W, 3]`: float32 `[N, F]`."""
    return ops.convert_to_numpy(seeing(images))


def see_split(
    seeing: keras.Model, split: Split, count: int | None = None
) -> np.ndarray:
    """Return what is seen of a split's images, or of `count` of them spread
    over it."""
    parts = [see(seeing, x) for x in split.batches_spread(BATCH, count)]
    return np.concatenate(parts)
