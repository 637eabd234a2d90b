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

    def name(self, index):
        for part in self.parts:
            if index < len(part):
                return part.name(index)
            index -= len(part)
        raise IndexError(index)

    def _gather(self, indices, read):
        indices = np.asarray(indices, np.int64)
        starts = np.cumsum([0, *(len(part) for part in self.parts)])
        source = np.searchsorted(starts, indices, side="right") - 1
        order = np.argsort(source, kind="stable")
        found = [
            read(part, indices[source == number] - starts[number])
            for number, part in enumerate(self.parts)
        ]
        return np.concatenate(found)[np.argsort(order)]


def join_tasks(benchmark: Benchmark) -> Benchmark:
    """Return a benchmark of one task, `joint`: the classes of all tasks.

    A class is called `task/class`. A network that was trained on it has seen
    all images at once, which no method that learns task after task does: its
    accuracy bounds theirs without task labels.
    """

    def load(_):
        tasks = {name: benchmark.load(name) for name in benchmark.tasks}
        parts = list(tasks.values())
        names = [f"{t}/{name}" for t, d in tasks.items() for name in d.classes]
        starts = np.cumsum([0, *(len(data.classes) for data in parts)])

        def joined(splits):
            images = JoinedImages(tuple(split.images for split in splits))
            labels = [
                split.labels + start
                for split, start in zip(splits, starts, strict=False)
            ]
            return Split(images, np.concatenate(labels))

        return TaskData(
            tuple(names),
            joined([data.train for data in parts]),
            joined([data.validation for data in parts]),
            joined([data.test for data in parts]),
            parts[0].augmentation,
            parts[0].framing,
        )

    return Benchmark(benchmark.name, (JOINT,), load)
