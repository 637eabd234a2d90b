"""The checks of unforgetting, on networks in memory (design.md 7)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from cckeras.data.sources import TaskData
from cckeras.runs.records import Probe

TOLERANCE = 1e-4
PROBE_IMAGES = 16


def probe_logits(model: keras.Model, images) -> np.ndarray:
    """Return the logits of a few images, op by op: no graph is traced."""
    return ops.convert_to_numpy(model(images, training=False))


def probe_images(data: TaskData) -> np.ndarray:
    """Return the first images of a task, float32 `[n, H, W, 3]`: of its test
    split, or where that is empty of another."""
    splits = (data.test, data.validation, data.train)
    split = next(split for split in splits if len(split))
    few = range(min(PROBE_IMAGES, len(split)))
    return split.images.read(list(few)).astype("float32")


@dataclass(frozen=True)
class Comparison:
    """How two sets of logits agree: bit for bit, or within a tolerance."""

    holds: bool
    exact: bool
    difference: float

    @property
    def text(self) -> str:
        """What a table says of it."""
        if self.exact:
            return "equal, bit for bit"
        verdict = "within" if self.holds else "NOT within"
        if not self.holds and self.difference <= TOLERANCE:
            verdict = "NOT equal, but within"
        return f"{verdict} {TOLERANCE:g} (largest difference {self.difference:.2g})"


def compare_logits(logits, expected, exactly: bool) -> Comparison:
    """Compare logits.

    Args:
        logits, expected: arrays of one shape.
        exactly: whether equality bit for bit is required.
    """
    if logits.shape != expected.shape:
        return Comparison(False, False, float("inf"))
    exact = logits.tobytes() == expected.tobytes()
    with np.errstate(invalid="ignore"):  # Of infinities; it is NaN then.
        difference = float(np.max(np.abs(logits - expected)))
    holds = exact or (not exactly and difference <= TOLERANCE)
    return Comparison(holds, exact, difference)


def changed_tasks(method, records, probes: dict[str, Probe], here) -> list[str]:
    """Return what no longer holds of committed tasks, one sentence each.

    Every one's digest is compared, and the second one's logits (the first
    one's, if it is alone): the oldest network with all that a task may have,
    whose size does not grow with the run. All logits would make the 20th task
    cost nine times what the second costs; `verify` compares them.

    Args:
        method: the whole run's networks, in memory.
        records: records of the tasks to check, in order.
        probes: the tasks' probes.
        here: the environment of this process.
    """
    changed = [
        record["name"]
        for record in records
        if method.digest(method.tasks[record["name"]]) != record["digest"]
    ]
    problems = [
        f"what task {name!r} owns is no longer as it was committed"
        for name in changed
    ]
    for record in records[:2][-1:]:
        name = record["name"]
        if name in changed:
            continue
        comparison = compare_logits(
            probe_logits(method.task_model(name), probes[name].images),
            probes[name].logits,
            exactly=record["environment"] == here,
        )
        if not comparison.holds:
            problems.append(
                f"the logits of task {name!r} are {comparison.text}"
            )
    return problems
