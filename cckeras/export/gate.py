"""A cheap guess of an image's task, from what the first task's network sees.

Every task can use the first one's network: it is there. The means and standard
deviations of what enters its convolutions tell tasks apart better than the
tasks' own certainty does (docs/export.md), by linear discriminant analysis:
a mean for each task and one covariance for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from cckeras.data.sources import TaskData
from cckeras.export.answers import BATCH
from cckeras.export.static import Input, StaticLayers

# Training images of each task.
IMAGES = 500
TEMPERATURES = 2.0 ** np.arange(-2, 7)


class WatchedLayers(StaticLayers):
    """They keep the mean and the standard deviation `[B, C]` of what enters
    each convolution of the banks that does not narrow it, in `seen`."""

    def __init__(self, layers: StaticLayers):
        super().__init__(layers.network, layers.kernels, layers.norms)
        self.seen = []

    def conv(self, x, filters, kernel_size, *, strides=1, name):
        if x.shape[-1] <= filters:
            mean = tf.reduce_mean(x, (1, 2))
            variance = tf.reduce_mean(x * x, (1, 2)) - mean * mean
            self.seen += [mean, tf.sqrt(tf.nn.relu(variance))]
        return super().conv(x, filters, kernel_size, strides=strides, name=name)


@dataclass(frozen=True)
class Gate:
    """Which task an image is of.

    Args:
        source: the network's input.
        layers: of the first task's network.
        scales, offsets: `[C]` for each of what `WatchedLayers` sees: times the
            one plus the other has mean 0 and deviation 1.
        kernels: `[C, tasks]` for each.
        bias: `[tasks]`.
    """

    source: Input
    layers: StaticLayers
    scales: list[np.ndarray]
    offsets: list[np.ndarray]
    kernels: list[np.ndarray]
    bias: np.ndarray

    def scores(self, images) -> tf.Tensor:
        """Return `[B, tasks]`, whose softmax are probabilities, of images
        `[B, H, W, 3]` in 0..255."""
        # A product for each part: XNNPACK joins five tensors at most.
        total = tf.constant(self.bias)
        for part, scale, offset, kernel in zip(
            _seen(self.source, self.layers, images),
            self.scales,
            self.offsets,
            self.kernels,
            strict=True,
        ):
            total = total + tf.matmul(part * scale + offset, kernel)
        return total


def fit_gate(
    source: Input, layers: StaticLayers, data: dict[str, TaskData]
) -> Gate:
    """Fit a gate to training images; its temperature to validation images.

    Args:
        source: the network's input.
        layers: of the first task's network.
        data: `{task: its images}`, at least two tasks.
    """
    splits = [task.train for task in data.values()]
    parts, tasks = _watch(source, layers, splits)
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]
    # Of one size, or eight bits would leave nothing of the small ones.
    scaler = StandardScaler().fit(np.concatenate(parts, 1))
    analysis = LinearDiscriminantAnalysis(
        solver="lsqr",
        shrinkage="auto",
        priors=np.full(len(data), 1 / len(data)),
    ).fit(scaler.transform(np.concatenate(parts, 1)), tasks)
    kernel, bias = analysis.coef_.T, analysis.intercept_
    if len(data) == 2:  # It then gives the difference alone.
        kernel = np.pad(kernel, ((0, 0), (1, 0)))
        bias = np.pad(bias, (1, 0))
    validation = [task.validation for task in data.values()]
    if all(len(split) for split in validation):
        parts, tasks = _watch(source, layers, validation)
    scores = scaler.transform(np.concatenate(parts, 1)) @ kernel + bias
    temperature = min(
        TEMPERATURES, key=lambda t: _cross_entropy(scores / t, tasks)
    )
    scales, offsets, kernels = (
        np.split(values.astype(np.float32), edges)
        for values in (
            1 / scaler.scale_,
            -scaler.mean_ / scaler.scale_,
            kernel / temperature,
        )
    )
    bias = (bias / temperature).astype(np.float32)
    return Gate(source, layers, scales, offsets, kernels, bias)


def _seen(source, layers, images):
    watched = WatchedLayers(layers)
    source.features(images, watched)
    return watched.seen


def _watch(source, layers, splits):
    """Return what is seen of the images, `[N, C]` each, and their tasks."""
    seen, tasks = [], []
    for number, split in enumerate(splits):
        images = split.read_spread(IMAGES)
        tasks += [number] * len(images)
        for start in range(0, len(images), BATCH):
            batch = tf.constant(images[start : start + BATCH])
            seen.append([part.numpy() for part in _seen(source, layers, batch)])
    return [np.concatenate(part) for part in zip(*seen, strict=True)], tasks


def _cross_entropy(scores, tasks):
    logs = tf.nn.log_softmax(scores).numpy()
    return -logs[np.arange(len(tasks)), tasks].mean()
