"""All tasks of a benchmark as one: the bound for those who forget nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import Images, Split, TaskData

JOINT = "joint"


@dataclass(frozen=True)
class JoinedImages:
    """Several sources' images, one source after the other."""

    parts: tuple[Images, ...]

    def __len__(self):
        return sum(len(part) for part in self.parts)

    def read(self, indices):
        return self._gather(indices, lambda part, own: part.read(own))

    def crops(self, indices, rng):
        return self._gather(indices, lambda part, own: part.crops(own, rng))

    def _gather(self, indices, read):
        indices = np.asarray(indices, np.int64)
        starts = np.cumsum([0, *(len(part) for part in self.parts)])
        source = np.searchsorted(starts, indices, side="right") - 1
        images = None
        for number in np.unique(source):
            places = np.flatnonzero(source == number)
            found = read(self.parts[number], indices[places] - starts[number])
            if images is None:
                images = np.empty((len(indices), *found.shape[1:]), found.dtype)
            images[places] = found
        if images is None:  # No image was asked for.
            return self.parts[0].read(indices)
        return images


def join_tasks(benchmark: Benchmark) -> Benchmark:
    """Return a benchmark of one task, `joint`: the classes of all tasks.

    A class is called `task/class`. A network that was trained on it has seen
    all images at once, which no method that learns task after task does: its
    accuracy bounds theirs without task labels.
    """

    def load(_):
        tasks = {name: benchmark.load(name) for name in benchmark.tasks}
        first = next(iter(tasks.values()))
        names = [
            f"{task}/{name}"
            for task, data in tasks.items()
            for name in data.classes
        ]
        return TaskData(
            tuple(names),
            _joined([data.train for data in tasks.values()], tasks),
            _joined([data.validation for data in tasks.values()], tasks),
            _joined([data.test for data in tasks.values()], tasks),
            first.augmentation,
        )

    return Benchmark(benchmark.name, (JOINT,), load)


def _joined(splits, tasks):
    starts = np.cumsum([0, *(len(data.classes) for data in tasks.values())])
    labels = [
        split.labels + start
        for split, start in zip(splits, starts[:-1], strict=True)
    ]
    images = JoinedImages(tuple(split.images for split in splits))
    return Split(images, np.concatenate(labels))
