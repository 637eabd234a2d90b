"""The interface of a method: what training, runs and evaluation rely on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cckeras.backbones.factory import LayerFactory
from cckeras.backbones.network import build_network
from cckeras.data.sources import TaskData
from cckeras.ownership import Ownership
from cckeras.task import Task


@dataclass(frozen=True)
class Group:
    """An optimizer group of a phase, as plain data.

    Args:
        pattern: regular expression on the variable's path.
        rule: `"sgd"` (Nesterov momentum 0.9) or `"adam"`.
        learning_rate: of the first epochs; multiplied by the phase's
            `decay_factor` after each of its `decay_epochs`.
        l2: coupled L2 decay.
    """

    pattern: str
    rule: str
    learning_rate: float
    l2: float = 0.0


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of trainable elements.

    Args:
        name: unique within the task.
        model: the network that is trained.
        epochs: how many.
        groups: optimizer groups; the first that matches takes a variable.
        decay_epochs, decay_factor: the learning rates' steps.
        schedule: `"steps"`, or `"cosine"`: from the learning rate to zero.
        label_smoothing: of the loss, in 0..1.
        select: `"best"` keeps the epoch with the best validation accuracy
            (the first one on ties), `"last"` the last epoch.
        start: called once before the first epoch with the task's data, to set
            initial values.
        alternative: of all phases so marked, the task keeps the values of
            the one with the best validation accuracy.
        optional: the values are kept only where their validation accuracy is
            no worse than that of those before, but for `tolerance`.
        tolerance: points of validation accuracy an optional phase may cost.
    """

    name: str
    model: keras.Model
    epochs: int
    groups: tuple[Group, ...]
    decay_epochs: tuple[int, ...] = ()
    decay_factor: float = 0.1
    schedule: str = "steps"
    label_smoothing: float = 0.0
    select: str = "best"
    start: Callable[[TaskData], None] | None = None
    alternative: bool = False
    optional: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True)
class PhaseResult:
    """How a finished phase ended; accuracies in percent, epochs from 1.

    Accuracies are None without such images; `alternative`, `optional` and
    `tolerance` as in `Phase`.
    """

    name: str
    epochs: int
    kept_epoch: int
    validation_accuracy: float | None
    test_accuracy: float | None
    history: dict[str, list[float]]
    alternative: bool = False
    optional: bool = False
    tolerance: float = 0.0


class Method:
    """A continual-learning method.

    A subclass implements `_network` and `phases`, and may extend `structure`
    and `uses`.

    Args:
        config: the resolved recipe, a mapping (configs/).
    """

    name = ""

    def __init__(self, config):
        self.config = config
        self.ledger = Ownership()
        self.variables: dict[str, keras.Variable] = {}
        self.tasks: dict[str, Task] = {}
        self._models: dict[str, keras.Model] = {}

    # What a subclass defines.

    def _network(self, task: Task, structure: dict | None) -> keras.Model:
        """Build a task's network, registering its variables."""
        raise NotImplementedError

    def phases(self, task: Task) -> Generator[Phase, PhaseResult, None]:
        """Yield the task's phases; each one's `PhaseResult` is sent back.

        A resumed run yields the finished phases again and gets their stored
        results: keep what changes variables inside a phase's `start`.
        """
        raise NotImplementedError

    def planned_phases(self, number: int) -> int:
        """Return how many phases the task of a number (from 1) will have."""
        del number
        return 1

    def structure(self, task: Task) -> dict[str, Any]:
        """Return, as JSON, what `grow` needs to rebuild the task's network."""
        del task
        return {}

    def uses(self, task: Task) -> tuple[str, ...]:
        """Return the tasks whose files the task's network is made of."""
        return (task.name,)

    # What the rest of the library calls.

    def grow(self, task: Task, structure: dict | None = None) -> None:
        """Add a task: its variables are made and claimed in the ledger.

        Everything that earlier tasks own is frozen.

        Args:
            task: the new task.
            structure: what `structure(task)` returned, to rebuild it.
        """
        for variable in self.variables.values():
            if variable.trainable:  # To set it costs more than to look.
                variable.trainable = False
        self.tasks[task.name] = task
        self._models[task.name] = self._network(task, structure)

    def task_model(self, name: str) -> keras.Model:
        """Return `image float32 [B, H, W, 3] in 0..255 -> logits [B, classes]`."""
        return self._models[name]

    def values(self, task: Task) -> dict[str, np.ndarray]:
        """Return the current values of every variable a task owns part of."""
        return {
            name: _array(self.variables[name])
            for name in self.ledger.owned(task.number)
        }

    def assign(self, task: Task, values: dict[str, np.ndarray]) -> None:
        """Set what a task owns.

        Raises:
            ValueError: if a variable is missing, unknown or of another shape.
        """
        owned = self.ledger.owned(task.number)
        for name in sorted(set(owned) ^ set(values)):
            problem = "is missing" if name in owned else "is unknown"
            raise ValueError(f"the variable {name!r} {problem}")
        for name, value in values.items():
            shape = tuple(self.variables[name].shape)
            if value.shape != shape:
                raise ValueError(
                    f"the variable {name!r}: expected shape {shape}, "
                    f"received {value.shape}"
                )
            self.variables[name].assign(value)

    def digest(self, task: Task) -> str:
        """Return the SHA-256 over all that a task owns."""
        return self.ledger.digest(task.number, self.values(task))

    def routing(self, name: str) -> dict[str, keras.Model]:
        """Return `{layer: model from image to routing weights}` of a task."""
        del name
        return {}

    # What subclasses share.

    def _register(self, task: Task, variables, prefix: str | None = None):
        """Enter new variables under `"prefix/layer/variable"` as a task's own."""
        for name, variable in variables.items():
            full = f"{prefix or task.name}/{name}"
            self.ledger.add(full, variable.shape)
            self.ledger.claim(full, task.number)
            self.variables[full] = variable

    def _build(self, task: Task, layers: LayerFactory) -> keras.Model:
        config = self.config
        options = {"width": config["width"]} if "width" in config else {}
        with dtype_policy(config["precision"]):
            return build_network(
                config["backbone"],
                layers,
                (config["image_size"], config["image_size"], 3),
                len(task.classes),
                config["mean"],
                config["std"],
                **options,
            )

    @property
    def _computing(self):
        """How layers compute, as arguments of a `LayerFactory`."""
        keys = "synchronized_norms", "recompute"
        return {key: self.config[key] for key in keys}

    def _plain_network(self, task: Task, prefix: str | None = None):
        layers = LayerFactory(
            [self.config["seed"], task.name], **self._computing
        )
        model = self._build(task, layers)
        self._register(task, layers.variables, prefix)
        return model

    def _phase(self, name, model, learning_rate, first_groups=(), **changes):
        config = self.config
        return Phase(
            name,
            model,
            config["epochs"],
            (*first_groups, Group("", "sgd", learning_rate, config["l2"])),
            tuple(config["decay_epochs"]),
            config["decay_factor"],
            config["schedule"],
            config["label_smoothing"],
            config["select"],
            **changes,
        )


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Make layers with a dtype policy of Keras."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _array(variable):
    """Return a variable's value. Every commit reads those of all tasks:
    `ops.convert_to_numpy` takes four times as long."""
    value = variable.value
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)
