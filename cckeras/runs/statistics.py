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
    see_split,
    seeing_model,
    seen_numbers,
)
from cckeras.runs.unforgetting import probe_logits

# Training images of a task; validation images.
IMAGES = 5000
VALIDATION_IMAGES = 1000
TEMPERATURES = 2.0 ** np.arange(-2, 7)
SHRINKAGES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
# Without validation images, every fifth training image takes their place.
HELD = 5
FITTED = ("shrinkage", "gate_temperature", "temperature")


class Statistics(NamedTuple):
    """What a task stores of F numbers seen in its images.

    Args:
        discriminants: of its classes.
        shrinkage, gate_temperature: `[]`, of a gate whose last task this is.
        temperature: `[]`, by which its own network's logits are divided. All
            three are fitted to the task's validation images.
    """

    discriminants: Discriminants
    shrinkage: np.ndarray
    gate_temperature: np.ndarray
    temperature: np.ndarray

    def pack(self) -> bytes:
        """Return the safetensors file."""
        return save(
            {
                **self.discriminants._asdict(),
                **{name: getattr(self, name) for name in FITTED},
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
        fitted = [parts.pop(name) for name in FITTED]
        discriminants = Discriminants(**parts)
        discriminants.check()
        return cls(discriminants, *fitted)


def stored_numbers(first: keras.Model, classes: int) -> int:
    """Return how many numbers a task stores.

    Args:
        first: the first task's network.
        classes: how many the task has.
    """
    return Discriminants.size(seen_numbers(first), classes) + len(FITTED)


def images_seen(data: TaskData) -> int:
    """Return how many images of a task `measure` looks at."""
    count = min(IMAGES, len(data.train))
    return count + min(VALIDATION_IMAGES, len(data.validation))


def measure(
    seeing: keras.Model,
    model: keras.Model,
    data: TaskData,
    earlier: Sequence[Statistics],
    like: Statistics | None = None,
) -> Statistics:
    """Return the statistics of a task that was learned.

    Args:
        seeing: of the first task's network.
        model: the task's network.
        data: the task's images; with training images.
        earlier: of the tasks before, in order.
        like: of any task of the run, for one measured late whose earlier ones
            have none: numbers seen are centred and scaled alike in a run.
    """
    before = [own.discriminants for own in earlier]
    like = earlier[0] if earlier else like
    first = like and like.discriminants
    classes = len(data.classes)
    few = data.train.sample(IMAGES)
    seen, labels = see_split(seeing, few), few.labels
    found = last = Discriminants.fit(seen, labels, classes, first)
    split = data.validation if len(data.validation) else data.train
    tried = split.labels_spread(VALIDATION_IMAGES)
    logits = [
        probe_logits(model, images)
        for images in split.batches_spread(BATCH, VALIDATION_IMAGES)
    ]
    temperature, _ = _fitted(np.concatenate(logits), tried)
    if split is data.train and len(seen) >= 2 * HELD:
        held = np.arange(len(seen)) % HELD == 0
        last = Discriminants.fit(seen[~held], labels[~held], classes, first)
        shown, tried = seen[held], labels[held]
    else:
        shown = see_split(seeing, split, VALIDATION_IMAGES)
    known = last.counts[tried] > 0
    if known.any():
        # No gate can name a class of which all images were held.
        shown, tried = shown[known], tried[known]
    else:
        last, shown, tried = found, seen, labels
    start = sum(len(own.counts) for own in before)
    fits = []
    for shrinkage in SHRINKAGES:
        scores = make_gate([*before, last], shrinkage).scores(shown)
        fits.append((*_fitted(scores, tried + start), shrinkage))
    gate_temperature, _, shrinkage = min(fits, key=lambda fit: fit[1])
    parts = shrinkage, gate_temperature, temperature
    return Statistics(found, *(np.array(x, np.float32) for x in parts))


def _fitted(scores, labels):
    """Return the temperature with the largest likelihood of the labels, and
    minus its mean logarithm."""
    rows = np.arange(len(labels))
    losses = [
        -log_softmax(scores / t)[rows, labels].mean() for t in TEMPERATURES
    ]
    best = int(np.argmin(losses))
    return TEMPERATURES[best], losses[best]


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
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Statistics]:
    """Return `{task: statistics}` of a run, in order.

    What is not stored is measured; a task without training images is left out.

    Args:
        run: the opened run.
        method: its networks.
        load_task: returns the images of a task by its name, None if there
            are none.
        progress: called with what is being done.
    """
    stored, found = stored_statistics(run), {}
    like = next(iter(stored.values()), None)
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
            progress(f"looking at the training images of {name}")
            model = method.task_model(name)
            earlier = list(found.values())
            found[name] = measure(seeing, model, data, earlier, like)
    return found


def first_seeing(method: Method) -> keras.Model:
    """Return the model of what the first task's network sees."""
    return seeing_model(method.task_model(next(iter(method.tasks))))


def gate_of(statistics: Sequence[Statistics]) -> Gate:
    """Return the gate of some tasks, in order, with the last one's shrinkage
    and temperature."""
    return make_gate(
        [own.discriminants for own in statistics],
        float(statistics[-1].shrinkage),
        float(statistics[-1].gate_temperature),
    )
