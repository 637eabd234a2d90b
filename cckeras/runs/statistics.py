"""What each task stores of its images when it is learned, so that tasks can be
told apart later without any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.methods.base import Method
from cckeras.runs.gate import Discriminants, Gate, log_softmax, make_gate
from cckeras.runs.records import STATISTICS, RunRecords
from cckeras.runs.seeing import (
    BATCH,
    see,
    see_split,
    seeing_model,
    seen_numbers,
)
from cckeras.runs.unforgetting import probe_logits

# Training images of a task; validation images.
IMAGES = 5000
VALIDATION_IMAGES = 1000
TEMPERATURES = 2.0 ** np.arange(-2, 7)


class Statistics(NamedTuple):
    """What a task stores of F numbers seen in its images.

    Args:
        discriminants: of its classes.
        gate_temperature: `[]`, by which a gate whose last task this is divides
            its scores.
        temperature: `[]`, by which its own network's logits are divided. Both
            are fitted to the task's validation images.
    """

    discriminants: Discriminants
    gate_temperature: np.ndarray
    temperature: np.ndarray

    def pack(self) -> bytes:
        """Return the safetensors file."""
        return save(
            {
                **self.discriminants._asdict(),
                "gate_temperature": self.gate_temperature,
                "temperature": self.temperature,
            }
        )

    @classmethod
    def unpack(cls, content: bytes) -> Statistics:
        """Return what such a file holds.

        Raises:
            KeyError, TypeError, ValueError, SafetensorError: if it is another
                one.
        """
        parts = load(content)
        temperatures = [
            parts.pop(name) for name in ("gate_temperature", "temperature")
        ]
        discriminants = Discriminants(**parts)
        discriminants.check()
        return cls(discriminants, *temperatures)


def stored_numbers(first: keras.Model, classes: int) -> int:
    """Return how many numbers a task stores.

    Args:
        first: the first task's network.
        classes: how many the task has.
    """
    return Discriminants.size(seen_numbers(first), classes) + 2


def measure(
    seeing: keras.Model,
    model: keras.Model,
    data: TaskData,
    earlier: Sequence[Statistics],
) -> Statistics:
    """Return the statistics of a task that was learned.

    Args:
        seeing: of the first task's network.
        model: the task's network.
        data: the task's images; with training images.
        earlier: of the tasks before, in order.
    """
    before = [own.discriminants for own in earlier]
    found = Discriminants.fit(
        see_split(seeing, data.train, IMAGES),
        data.train.labels_spread(IMAGES),
        len(data.classes),
        before[0] if before else None,
    )
    gate = make_gate([*before, found])
    split = data.validation if len(data.validation) else data.train
    labels = split.labels_spread(VALIDATION_IMAGES)
    scores, logits = [], []
    for images in split.batches_spread(BATCH, VALIDATION_IMAGES):
        scores.append(gate.scores(see(seeing, images)))
        logits.append(probe_logits(model, images))
    start = sum(gate.counts[:-1])
    return Statistics(
        found,
        _fitted(np.concatenate(scores), labels + start),
        _fitted(np.concatenate(logits), labels),
    )


def _fitted(scores, labels):
    """Return the temperature with the largest likelihood of the labels."""
    rows = np.arange(len(labels))
    best = min(
        TEMPERATURES,
        key=lambda t: -log_softmax(scores / t)[rows, labels].mean(),
    )
    return np.array(best, np.float32)


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
    method: Method,
    load_task: Callable[[str], TaskData | None],
) -> dict[str, Statistics]:
    """Return `{task: statistics}` of a run, in order.

    What is not stored is measured; a task without training images is left out.

    Args:
        run: the opened run.
        method: its networks.
        load_task: returns the images of a task by its name, None if there
            are none.
    """
    stored, found = stored_statistics(run), {}
    seeing = None
    for record in run.records:
        name = record["name"]
        if name in stored:
            found[name] = stored[name]
            continue
        data = load_task(name)
        if data is not None and len(data.train):
            if seeing is None:
                seeing = first_seeing(method)
            model = method.task_model(name)
            found[name] = measure(seeing, model, data, list(found.values()))
    return found


def first_seeing(method: Method) -> keras.Model:
    """Return the model of what the first task's network sees."""
    return seeing_model(method.task_model(next(iter(method.tasks))))


def gate_of(statistics: Sequence[Statistics]) -> Gate:
    """Return the gate of some tasks, in order, with the last one's
    temperature."""
    return make_gate(
        [own.discriminants for own in statistics],
        float(statistics[-1].gate_temperature),
    )
