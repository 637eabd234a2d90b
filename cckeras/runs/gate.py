"""Which class of which task an image is of, from what the first task's network
sees in it (cckeras/runs/seeing.py).

Classes are compared by linear discriminant analysis, for which each task stores
the means of its classes and its part of the common covariance within classes
when it is learned: no later task needs an image of an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# More numbers than that are first mixed into as many.
DIMENSIONS = 1024
# The score of a class without training images.
NEVER = -1e9


class Discriminants(NamedTuple):
    """What a task keeps of F numbers seen in its training images.

    Args:
        centre, scale: `[F]`, what was subtracted and divided by: the mean and
            the deviation of the first task's images. D of those numbers, or
            of their mixtures, are then compared.
        means: `[classes, D]`.
        scatter: `[D * (D + 1) / 2]`, upper triangle of the sum of products of
            the differences to these means.
        counts: `[classes]`, images.
    """

    centre: np.ndarray
    scale: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    counts: np.ndarray

    @classmethod
    def fit(
        cls,
        seen: np.ndarray,
        labels: np.ndarray,
        classes: int,
        first: Discriminants | None = None,
    ) -> Discriminants:
        """Return those of a task.

        Args:
            seen: `[N, F]`.
            labels: int `[N]`.
            classes: how many the task has.
            first: of the run's first task, None for itself.
        """
        if first is None:
            centre, deviation = seen.mean(0), seen.std(0)
            scale = np.where(deviation > 0, deviation, 1)
        else:
            centre, scale = first.centre, first.scale
        mixed = _mixed((seen - centre) / scale)
        counts = np.bincount(labels, minlength=classes)
        means = np.zeros((classes, mixed.shape[1]))
        np.add.at(means, labels, mixed)
        means /= np.maximum(counts, 1)[:, None]
        within = mixed - means[labels]
        scatter = (within.T @ within)[np.triu_indices(mixed.shape[1])]
        return cls(
            *(x.astype(np.float32) for x in (centre, scale, means, scatter)),
            counts.astype(np.int32),
        )

    @staticmethod
    def size(seen: int, classes: int) -> int:
        """Return how many numbers are kept of `seen` ones."""
        kept = min(seen, DIMENSIONS)
        return 2 * seen + classes * (kept + 1) + kept * (kept + 1) // 2

    def check(self) -> None:
        """Raise ValueError if the shapes do not belong together."""
        seen, classes = len(self.centre), len(self.counts)
        kept = min(seen, DIMENSIONS)
        if [part.shape for part in self] != [
            (seen,),
            (seen,),
            (classes, kept),
            (kept * (kept + 1) // 2,),
            (classes,),
        ]:
            raise ValueError(f"shapes {[part.shape for part in self]}")


class Gate(NamedTuple):
    """Scores of all classes of some tasks, whose softmax are probabilities.

    Args:
        centre, scale: `[F]`; what is seen, less the one and divided by the
            other, is multiplied by `kernel` `[F, C]`, and `bias` `[C]` added.
        counts: number of classes of each task, C in all.
    """

    centre: np.ndarray
    scale: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    counts: tuple[int, ...]

    def scores(self, seen: np.ndarray) -> np.ndarray:
        """Return `[N, C]` of what was seen, `[N, F]`."""
        return (seen - self.centre) / self.scale @ self.kernel + self.bias

    def by_task(self, scores: np.ndarray) -> list[np.ndarray]:
        """Return the logarithms of the probabilities of scores `[N, C]`: for
        each task `[N, classes]`."""
        places = np.cumsum(self.counts)[:-1]
        return np.split(log_softmax(scores), places, axis=1)


def make_gate(
    tasks: Sequence[Discriminants], shrinkage: float, temperature: float = 1.0
) -> Gate:
    """Return the gate of some tasks, in order.

    Args:
        tasks: of each.
        shrinkage: of the covariance, towards equal variances: how many times
            the mean variance is added to each.
        temperature: what scores are divided by.

    Raises:
        ValueError: if what they saw was not centred and scaled alike.
    """
    first = tasks[0]
    for own in tasks[1:]:
        if not (
            np.array_equal(own.centre, first.centre)
            and np.array_equal(own.scale, first.scale)
        ):
            raise ValueError("tasks with another centre or scale")
    counts = np.concatenate([own.counts for own in tasks])
    means = np.concatenate([own.means for own in tasks]).astype(np.float64)
    size = means.shape[1]
    total = np.zeros((size, size))
    total[np.triu_indices(size)] = sum(
        own.scatter.astype(np.float64) for own in tasks
    )
    covariance = (total + np.triu(total, 1).T) / counts.sum()
    mean = _positive(np.trace(covariance) / size)
    covariance[np.diag_indices(size)] += shrinkage * mean
    solved = np.linalg.solve(covariance, means.T)
    bias = -0.5 * (means.T * solved).sum(0) / temperature
    bias[counts == 0] = NEVER
    return Gate(
        first.centre,
        first.scale,
        _mixed_back(solved, len(first.centre)) / temperature,
        bias,
        tuple(len(own.counts) for own in tasks),
    )


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax of each row."""
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def _mixed(numbers):
    """Return `[N, D]` of `[N, F]`: where D is less, sums with random signs,
    which keep distances (Achlioptas 2003) and need not be stored."""
    if numbers.shape[1] <= DIMENSIONS:
        return numbers
    return numbers @ _signs(numbers.shape[1])


def _mixed_back(kernel, seen):
    """Return a kernel of `seen` numbers that does what one of theirs mixed
    does."""
    return kernel if seen <= DIMENSIONS else _signs(seen) @ kernel


def _signs(seen):
    # RandomState, unlike Generator, promises the same stream for good.
    bits = np.random.RandomState(0).bytes(seen * DIMENSIONS // 8)
    signs = np.unpackbits(np.frombuffer(bits, np.uint8)) * 2.0 - 1
    return signs.reshape(seen, DIMENSIONS) / seen**0.5


def _positive(value):
    return value if value > 0 else 1.0
