"""Tasks of a published benchmark, each in a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cckeras.data.folders import folder_task
from cckeras.data.pictures import Framing, PictureMemory
from cckeras.data.sources import TaskData
from cckeras.errors import InputError

LAYOUT = "<train|validation|test>/<class>/"


@dataclass
class TaskFolders:
    """The folders `DIR/<task>` of a benchmark.

    Args:
        root: the folder `DIR`, or the one that holds it.
        inner: what `DIR` may be called in `root`.
        tasks: names of the tasks.
        split_seed: of the splits that are missing.
        check: read a task's pictures when it is first loaded.
        validate: take a missing validation split from train.
        unpacked: `{task: what tools/unpack_tfds.py calls it}`.
    """

    root: str | None
    inner: str
    tasks: Sequence[str]
    split_seed: int
    check: bool = True
    validate: bool = True
    unpacked: Mapping[str, str] = field(default_factory=dict)
    _checked: set[str] = field(default_factory=set)
    _memory: PictureMemory = field(default_factory=PictureMemory)

    def load(self, task: str, framing: Framing) -> TaskData:
        """Return a task's pictures.

        Raises:
            InputError: if they are missing, in another layout, or unreadable;
                it says what to put where.
        """
        folder = self.folder(task)
        if not folder.is_dir():
            others = [name for name in self.tasks if self.folder(name).is_dir()]
            name = self.unpacked.get(task)
            hint = f", with tools/unpack_tfds.py --task={name}" if name else ""
            rest = f", or learn the rest with --tasks={','.join(others)}"
            raise InputError(
                f"Expected pictures of task {task!r} in {folder / LAYOUT}. "
                f"Received: no such folder. Put them there{hint}{rest * bool(others)}."
            )
        data = folder_task(
            folder,
            framing,
            self.split_seed,
            self._memory,
            validate=self.validate,
            check=self.check and task not in self._checked,
        )
        self._checked.add(task)
        return data

    def folder(self, task: str) -> Path:
        """Return the folder of a task, whether it exists or not.

        Raises:
            InputError: if no folder was given, or it is none.
        """
        expected = (
            f"Expected --data_dir=DIR with pictures in DIR/<task>/{LAYOUT} of "
            f"the tasks {', '.join(self.tasks)}. Received: "
        )
        if not self.root:
            raise InputError(f"{expected}no --data_dir. Name the folder.")
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise InputError(
                f"{expected}{root}, which is no folder. Check the path."
            )
        inner = root / self.inner
        return (inner if inner.is_dir() else root) / task
