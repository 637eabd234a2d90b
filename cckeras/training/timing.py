"""What a phase takes, from a few real steps of it on a few of its images."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import keras
import numpy as np

from cckeras.data.pipeline import EVALUATION_BATCH, evaluation_steps
from cckeras.data.sources import Split, TaskData
from cckeras.methods.base import Method, Phase
from cckeras.task import Task
from cckeras.training.checkpoint import TrainingState
from cckeras.training.phase import train_phase

FULL_BATCHES = 4
STEADY_SECONDS = 0.35
MOST_EPOCHS = 12
# Where several processes train, whose clocks differ.
SAME_EPOCHS = 4


@dataclass(frozen=True)
class Timing:
    """Where a phase's time goes, in seconds.

    Args:
        once: compiling, and all else that happens once a phase.
        test_once: compiling an evaluation.
        step: one training step of a full batch.
        evaluation_step: one batch of an evaluation.
        epoch: what an epoch takes beside its steps.
        checkpoint_bytes: tensors of an epoch's checkpoint, in bytes.
    """

    once: float
    test_once: float
    step: float
    evaluation_step: float
    epoch: float
    checkpoint_bytes: int

    def phase_seconds(
        self, data: TaskData, batch_size: int, epochs: int, ratio: float = 1.0
    ) -> float:
        """Return the seconds of a phase.

        Args:
            data: the task's images.
            batch_size: images a training step.
            epochs: how many are left.
            ratio: multiply-adds of an image to those in the network timed.
        """
        validation = evaluation_steps(data.validation)
        evaluated = (
            epochs * validation + validation + evaluation_steps(data.test)
        )
        steps = epochs * len(data.train) / batch_size
        return (
            self.once
            + epochs * self.epoch
            + ratio * (steps * self.step + evaluated * self.evaluation_step)
        )

    def answer_seconds(self, images: int, ratio: float = 1.0) -> float:
        """Return the seconds in which a network answers for some images."""
        return ratio * self.evaluation_step * images / EVALUATION_BATCH

    def first_test_seconds(self, data: TaskData, ratio: float = 1.0) -> float:
        """Return the seconds of the evaluation before a task is trained."""
        steps = evaluation_steps(data.test)
        return self.test_once + ratio * steps * self.evaluation_step


def time_phase(
    phase: Phase, method: Method, task: Task, data: TaskData
) -> Timing:
    """Time a phase by training it, with a learning rate of zero, on few images.

    The values of the task's variables change (statistics, a phase's `start`):
    use a method that is thrown away.

    Args:
        phase: its model is trained.
        method: holds the task's network.
        task: the task that was grown last.
        data: all of the task's images.
    """
    batch = method.config["batch_size"]
    few = replace(
        data,
        train=_few(data.train, batch, FULL_BATCHES),
        validation=_few(data.validation, EVALUATION_BATCH, 1),
        test=_few(data.test, EVALUATION_BATCH, 1),
    )
    alone = method.config["distribute"] == "none"
    short = replace(
        phase,
        epochs=MOST_EPOCHS if alone else SAME_EPOCHS,
        decay_epochs=(),
        # Over experts that were never trained a real rate might diverge.
        groups=tuple(
            replace(group, learning_rate=0.0) for group in phase.groups
        ),
    )
    seconds = STEADY_SECONDS if alone else math.inf
    clock, kept = _Clock(len(few.train) // batch, seconds), _Unsaved()
    state = TrainingState(task.name)
    start = time.perf_counter()
    train_phase(short, method, task, few, state, kept, [clock])
    total = time.perf_counter() - start
    steady = float(np.mean(clock.epochs[1:]))
    validation = evaluation_steps(few.validation)
    if validation:
        tests = float(np.mean(clock.evaluations[1:]))
        test_once = max(clock.evaluations[0] - tests, 0.0)
        evaluation_step = tests / validation
        step = clock.step(steady - tests, len(few.train) / batch)
    else:
        step = clock.step(steady, len(few.train) / batch)
        # An evaluation is the first third of a step, with another batch.
        evaluation_step = step / 3 * EVALUATION_BATCH / batch
        test_once = 0.0
    evaluated = validation * evaluation_step
    ends = evaluated + evaluation_steps(few.test) * evaluation_step
    trained = len(few.train) / batch * step
    return Timing(
        # One epoch's worth of the first epoch was no compiling.
        max(total - sum(clock.epochs[1:]) - steady - ends, 0.0),
        test_once,
        step,
        evaluation_step,
        max(steady - trained - evaluated, 0.0),
        kept.bytes,
    )


def _few(split: Split, batch: int, full: int) -> Split:
    """Return few full batches and the partial one that ends an epoch: where a
    shape is compiled of its own, that counts."""
    count = min(len(split), full * batch + len(split) % batch)
    return split.subset(np.arange(count))


class _Unsaved:
    """Stands for `Checkpoints`: measures what it would write."""

    bytes = 0

    def save(self, state):
        self.bytes = sum(
            array.nbytes
            for group in state.tensors.values()
            for array in group.values()
        )


class _Clock(keras.callbacks.Callback):
    """Takes the times of epochs, steps and evaluations; ends the training.

    Args:
        full: number of full batches an epoch.
        most: seconds of the epochs after the first one, to end after.
    """

    def __init__(self, full, most):
        super().__init__()
        self.full, self.most = full, most
        self.epochs, self.steps, self.evaluations = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # Waits where a backend computes ahead.
        now = time.perf_counter()
        # A first step begins with the epoch, and a last one may be smaller.
        if self.epochs and 0 < batch < self.full:
            self.steps.append(now - self._step)
        self._step = now

    def step(self, seconds, batches):
        """Return the seconds of a full step: from an epoch's, if it has but
        one."""
        return float(np.mean(self.steps)) if self.steps else seconds / batches

    def on_test_begin(self, logs=None):
        self._test = time.perf_counter()

    def on_test_end(self, logs=None):
        self.evaluations.append(time.perf_counter() - self._test)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self._epoch)
        if len(self.epochs) > 1 and sum(self.epochs[1:]) > self.most:
            self.model.stop_training = True
