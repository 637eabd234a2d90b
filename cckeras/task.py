"""A task: its name, its number in the run, its classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cckeras.errors import InputError

FORBIDDEN = ("/", "\\", "@", "|", ",")


@dataclass(frozen=True)
class Task:
    """A task: its name, its number in the run (from 1) and its classes."""

    name: str
    number: int
    classes: tuple[str, ...]

    @classmethod
    def from_record(cls, record: dict) -> Task:
        """Return the task that a `task.json` describes."""
        return cls(record["name"], record["number"], tuple(record["classes"]))

    @property
    def folder(self) -> str:
        """The name of the task's folder in a run, as `03-flowers`."""
        return f"{self.number:02d}-{self.name}"


def check_task_names(names: Iterable[str]) -> None:
    """Check that task names can name folders, and that none is there twice.

    Raises:
        InputError: that names the task.
    """
    seen = set()
    for name in names:
        if name in seen:
            raise InputError(
                "Expected every task name once. Received: task "
                f"{name!r} twice. Remove or rename one."
            )
        seen.add(name)
        if (
            not name.strip(".")
            or not name.isprintable()
            or any(mark in name for mark in FORBIDDEN)
        ):
            raise InputError(
                "Expected a task name of printable characters without "
                f"{' '.join(FORBIDDEN)}. Received: task {name!r}. Rename it."
            )
