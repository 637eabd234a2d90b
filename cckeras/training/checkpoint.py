"""Epoch checkpoints of the task in hand: two kept, the newest complete wins."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.runs.reading import check_seal, read_checked, read_json

STATE, TENSORS = "state.json", "state.safetensors"
KEPT = 2
FOLDER = re.compile(r"[0-9]{4}-[0-9]{5,}")


@dataclass
class TrainingState:
    """Everything that training needs to go on after a kill.

    Args:
        task: name of the task.
        phase: number of the phase in hand, from 0.
        epoch: finished epochs of that phase.
        results: finished phases, as plain data.
        history: the phase's curves, one number an epoch.
        best_epoch, best_accuracy: the epoch to be kept so far.
        first_accuracy: test accuracy before any training, in percent.
        data: fingerprint of the task's data.
        tensors: named groups of tensors: `values` (what the task owns),
            `optimizer`, `best` (values of the best epoch), `winner` (values
            of the best alternative phase so far, and before an optional one).
    """

    task: str
    phase: int = 0
    epoch: int = 0
    results: list[dict] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    best_accuracy: float = -1.0
    first_accuracy: float | None = None
    data: str | None = None
    tensors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints in a run's `training` folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, atomically, then delete all but two."""
        flat = {
            f"{group}|{name}": np.asarray(array, order="C")
            for group, arrays in state.tensors.items()
            for name, array in arrays.items()
        }
        record = {
            key: value for key, value in vars(state).items() if key != "tensors"
        }
        path = self.folder / f"{state.phase:04d}-{state.epoch:05d}"
        files.remove(path)
        files.write_folder(
            path,
            {TENSORS: save(flat), STATE: files.dump_json(record)},
            last=STATE,
        )
        for old in self._names()[:-KEPT]:
            files.remove(self.folder / old)

    def newest(self, task: str) -> TrainingState | None:
        """Return the newest complete checkpoint of a task, if there is one."""
        for name in reversed(self._names()):
            state = self._read(self.folder / name)
            if state is not None and state.task == task:
                return state
        return None

    def forget(self, tasks: Collection[str]) -> None:
        """Delete the checkpoints of some tasks, and damaged ones, which `save`
        would count among the newest."""
        for name in self._names():
            state = self._read(self.folder / name)
            if state is None or state.task in tasks:
                files.remove(self.folder / name)

    def clear(self) -> None:
        """Delete all checkpoints (their task was committed)."""
        for name in self._names():
            files.remove(self.folder / name)
        files.remove_leftovers(self.folder)

    def _names(self):
        if not self.folder.is_dir():
            return []
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if FOLDER.fullmatch(path.name)
        )

    def _read(self, path):
        try:
            record = read_json(path / STATE)
            check_seal(record, path / STATE)
            del record["seal"]
            content = read_checked(path / TENSORS, record.pop("files")[TENSORS])
            tensors = {}
            for key, array in load(content).items():
                group, name = key.split("|", 1)
                tensors.setdefault(group, {})[name] = array
            return TrainingState(**record, tensors=tensors)
        except (InputError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # Incomplete, or another version's: not used.
