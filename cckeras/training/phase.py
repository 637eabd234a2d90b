"""One phase of a task: a compiled `fit` that resumes and keeps an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from cckeras.data.pipeline import (
    evaluation_batches,
    evaluation_steps,
    steps_per_epoch,
    training_batches,
)
from cckeras.data.sources import Split, TaskData
from cckeras.errors import InputError
from cckeras.methods.base import Method, Phase, PhaseResult
from cckeras.task import Task
from cckeras.training.checkpoint import Checkpoints, TrainingState
from cckeras.training.distribution import placement
from cckeras.training.recipe import make_optimizer


def accuracy(model: keras.Model, split: Split) -> float | None:
    """Return the accuracy in percent, None for an empty split."""
    if not len(split):
        return None
    _, share = model.evaluate(
        evaluation_batches(split, placement()),
        steps=evaluation_steps(split),
        verbose=0,
    )
    return round(100 * float(share), 4)


class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of class numbers `[B]` with logits `[B, classes]`.

    Args:
        smoothing: share of a label that is spread over all classes.
    """

    def __init__(self, smoothing: float):
        super().__init__(name="smoothed_crossentropy")
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        return keras.losses.categorical_crossentropy(
            ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype),
            y_pred,
            from_logits=True,
            label_smoothing=self.smoothing,
        )


def compile_model(
    model: keras.Model, optimizer, label_smoothing: float = 0.0
) -> None:
    """Compile for training; never with XLA on TensorFlow (docs/design.md)."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if label_smoothing:
        loss = SmoothedCrossentropy(label_smoothing)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer,
        loss,
        weighted_metrics=["accuracy"],
        jit_compile=False if on_tensorflow else "auto",
    )


def forget_training(model: keras.Model) -> None:
    """Free the compiled functions: a learned network only answers."""
    model.train_function = None
    model.test_function = None
    model.optimizer = None


def train_phase(
    phase: Phase,
    method: Method,
    task: Task,
    data: TaskData,
    state: TrainingState,
    checkpoints: Checkpoints,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    workers: int = 0,
) -> PhaseResult:
    """Train a phase from its next unfinished epoch; keep the epoch it selects.

    Args:
        phase: what to train.
        method: owns the variables.
        task: the task in hand.
        data: its images.
        state: where training stands; changed in place.
        checkpoints: where every finished epoch is stored.
        callbacks: more Keras callbacks.
        workers: processes that read pictures, as in `training_batches`.

    Raises:
        InputError: if the loss is not finite.
    """
    model, config = phase.model, method.config
    steps = steps_per_epoch(len(data.train), config["batch_size"])
    trained = {variable.path for variable in model.trainable_variables}
    masks = {
        method.variables[name].path: mask
        for name, mask in method.ledger.owned(task.number).items()
        if not isinstance(mask, bool) and method.variables[name].path in trained
    }
    optimizer = make_optimizer(phase, steps, masks, config["accumulate_steps"])
    optimizer.build(model.trainable_variables)
    compile_model(model, optimizer, phase.label_smoothing)
    if state.epoch == 0:
        state.history = {}
        state.best_epoch, state.best_accuracy = 0, -1.0
        state.tensors.pop("best", None)
        if phase.optional:
            state.tensors["winner"] = method.values(task)
        if phase.start is not None:
            phase.start(data)
    else:
        method.assign(task, state.tensors["values"])
        stored = state.tensors["optimizer"]
        for index, variable in enumerate(optimizer.variables):
            variable.assign(stored[str(index)])
    if state.epoch < phase.epochs:
        keeper = _EpochKeeper(
            phase, method, task, state, checkpoints, optimizer
        )
        validated = data.validation if len(data.validation) else None
        here = placement()
        model.fit(
            training_batches(
                data.train,
                seed=config["seed"],
                task=task.name,
                batch_size=config["batch_size"],
                augmentation=data.augmentation or config["augmentation"],
                first_epoch=state.epoch,
                epochs=phase.epochs,
                workers=workers,
                placement=here,
            ),
            steps_per_epoch=steps,
            initial_epoch=state.epoch,
            epochs=phase.epochs,
            validation_data=validated and evaluation_batches(validated, here),
            validation_steps=validated and evaluation_steps(validated),
            callbacks=[keeper, *callbacks],
            verbose=0,
            shuffle=False,
        )
    if "best" in state.tensors:
        method.assign(task, state.tensors["best"])
    return PhaseResult(
        phase.name,
        phase.epochs,
        # Without validation images there is no best one, and the last is kept.
        state.best_epoch or phase.epochs,
        accuracy(model, data.validation),
        accuracy(model, data.test),
        state.history,
        phase.alternative,
        phase.optional,
        phase.tolerance,
    )


class _EpochKeeper(keras.callbacks.Callback):
    """Records, selects and stores every finished epoch."""

    def __init__(self, phase, method, task, state, checkpoints, optimizer):
        super().__init__()
        self.phase = phase
        self.method = method
        self.task = task
        self.state = state
        self.checkpoints = checkpoints
        self.optimizer = optimizer

    def on_epoch_end(self, epoch, logs=None):
        state = self.state
        values = {
            name: np.array(value)
            for name, value in self.method.values(self.task).items()
        }
        loss = float(logs["loss"])
        finite = all(np.isfinite(value).all() for value in values.values())
        if not math.isfinite(loss) or not finite:
            raise InputError(
                "Expected a finite loss and finite weights in task "
                f"{self.task.name!r}, phase {self.phase.name!r}. Received: "
                f"loss={loss} in epoch {epoch + 1}. Start a new --run_dir with "
                "a lower learning rate; this one keeps its finished tasks."
            )
        for key, value in logs.items():
            state.history.setdefault(key, []).append(round(float(value), 6))
        validated = logs.get("val_accuracy")
        if (
            self.phase.select == "best"
            and validated is not None
            and float(validated) > state.best_accuracy
        ):
            state.best_accuracy = float(validated)
            state.best_epoch = epoch + 1
            state.tensors["best"] = values
        state.epoch = epoch + 1
        state.tensors["values"] = values
        state.tensors["optimizer"] = {
            str(index): np.array(ops.convert_to_numpy(variable))
            for index, variable in enumerate(self.optimizer.variables)
        }
        self.checkpoints.save(state)
