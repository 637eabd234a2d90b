"""Which task an image is of, from what the first task's network sees in it.

Every task can use the first one's network: it never changes. The means and the
standard deviations of what enters its convolutions differ between tasks more
than the certainty of the tasks' own networks does (docs/design.md). They are
compared by linear discriminant analysis, for which each task stores its mean
and its part of the common covariance when it is learned: no later task needs
an image of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.layers.task_conv import TaskConv2D
from cckeras.runs.records import STATISTICS, RunRecords

# Training images of a task; directions that are kept of its covariance.
IMAGES = 1000
RANK = 32
# Of the covariance, towards equal variances.
SHRINKAGE = 1e-3
TEMPERATURES = 2.0 ** np.arange(-2, 7)
BATCH = 250


class Statistics(NamedTuple):
    """What a task stores of F numbers seen in its training images.

    Its covariance is `factor.T @ factor + diag(rest)`.

    Args:
        mean: `[F]`.
        factor: `[RANK, F]`.
        rest: `[F]`.
        temperature: `[]`, by which a gate whose last task this is divides its
            scores, fitted to the task's validation images.
    """

    mean: np.ndarray
    factor: np.ndarray
    rest: np.ndarray
    temperature: np.ndarray

    def pack(self) -> bytes:
        """Return the safetensors file."""
        return save(self._asdict())

    @classmethod
    def unpack(cls, content: bytes) -> Statistics:
        """Return what such a file holds.

        Raises:
            KeyError, ValueError, SafetensorError: if it is another one.
        """
        found = cls(**load(content))
        size = len(found.mean)
        if found.factor.shape[1:] != (size,) or found.rest.shape != (size,):
            raise ValueError(f"shapes {[part.shape for part in found]}")
        return found


class Gate(NamedTuple):
    """Scores of T tasks, whose softmax are probabilities.

    Args:
        centre, scale: `[F]`; what is seen, less the one and divided by the
            other, is multiplied by `kernel` `[F, T]`, and `bias` `[T]` added.
    """

    centre: np.ndarray
    scale: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def scores(self, seen: np.ndarray) -> np.ndarray:
        """Return `[N, T]` of what was seen, `[N, F]`."""
        return (seen - self.centre) / self.scale @ self.kernel + self.bias


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


def stored_numbers(model: keras.Model) -> int:
    """Return how many numbers a task stores that `model` looks at."""
    return 2 * sum(x.shape[-1] for x in watched(model)) * (RANK + 2)


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
    parts = [
        ops.convert_to_numpy(seeing(images[start : start + BATCH]))
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


def measure(
    seeing: keras.Model, data: TaskData, earlier: Sequence[Statistics]
) -> Statistics:
    """Return the statistics of a task that was learned.

    Args:
        seeing: of the first task's network.
        data: the task's images; with training images.
        earlier: of the tasks before, in order.
    """
    seen = see(seeing, data.train.read_spread(IMAGES)).astype(np.float64)
    mean = seen.mean(0)
    _, sizes, directions = np.linalg.svd(seen - mean, full_matrices=False)
    factor = (sizes / len(seen) ** 0.5)[:RANK, None] * directions[:RANK]
    rest = np.maximum(seen.var(0) - (factor**2).sum(0), 0)
    found = Statistics(
        mean.astype(np.float32),
        factor.astype(np.float32),
        rest.astype(np.float32),
        np.array(1, np.float32),
    )
    if earlier:
        split = data.validation if len(data.validation) else data.train
        scores = make_gate([*earlier, found]).scores(
            see(seeing, split.read_spread(IMAGES))
        )
        best = min(
            TEMPERATURES, key=lambda t: -log_softmax(scores / t)[:, -1].mean()
        )
        found = found._replace(temperature=np.array(best, np.float32))
    return found


def stored_statistics(run: RunRecords) -> dict[str, Statistics]:
    """Return `{task: statistics}` of a run's tasks that have some.

    A task whose weights came without pictures has none, nor has one that was
    learned by an earlier version.

    Raises:
        InputError: if a file is damaged.
    """
    found = {}
    for record in run.records:
        name = record["name"]
        content = run.statistics(name)
        if content is None:
            continue
        try:
            found[name] = Statistics.unpack(content)
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(
                f"Expected {run.folder(name) / STATISTICS} to hold "
                f"statistics. Received: {error}. Restore it from a copy."
            ) from error
    return found


def run_statistics(
    run: RunRecords,
    seeing: keras.Model,
    load_task: Callable[[str], TaskData | None],
) -> dict[str, Statistics]:
    """Return `{task: statistics}` of a run, in order.

    What is not stored is measured; a task without training images is left out.

    Args:
        run: the opened run.
        seeing: of the first task's network.
        load_task: returns the images of a task by its name, None if there
            are none.
    """
    stored, found = stored_statistics(run), {}
    for record in run.records:
        name = record["name"]
        if name in stored:
            found[name] = stored[name]
            continue
        data = load_task(name)
        if data is not None and len(data.train):
            found[name] = measure(seeing, data, list(found.values()))
    return found


def make_gate(statistics: Sequence[Statistics]) -> Gate:
    """Return the gate of some tasks, in order, the last one's temperature."""
    means, factors, rests = (
        np.stack([part[place] for part in statistics]).astype(np.float64)
        for place in range(3)
    )
    variance = (rests + (factors**2).sum(1)).mean(0)
    scale = np.sqrt(np.where(variance > 0, variance, 1))
    centre = means.mean(0)
    means = (means - centre) / scale
    low = (factors / scale).reshape(-1, len(scale)) / len(statistics) ** 0.5
    diagonal = (rests / scale**2).mean(0) + SHRINKAGE
    # The inverse of a diagonal matrix plus one of low rank (Woodbury).
    weighted = low / diagonal
    inner = np.eye(len(low)) + weighted @ low.T
    kernel = means / diagonal
    kernel = kernel - np.linalg.solve(inner, weighted @ means.T).T @ weighted
    bias = -0.5 * (kernel * means).sum(1)
    temperature = float(statistics[-1].temperature)
    return Gate(centre, scale, kernel.T / temperature, bias / temperature)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax of each row."""
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))
