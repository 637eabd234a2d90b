"""The records of a run folder: read and checked without any network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from cckeras.errors import InputError, choose
from cckeras.runs import files
from cckeras.schemas import check_schema
from cckeras.task import Task

FORMAT = 1
RUN, TASK, LAST = "run.json", "task.json", "LAST"
WEIGHTS, PROBE = "weights.safetensors", "probe.safetensors"
TASKS, TRAINING = "tasks", "training"


@dataclass(frozen=True)
class Probe:
    """A few real images of a task, and its logits when it was committed."""

    images: np.ndarray
    logits: np.ndarray


class RunRecords:
    """An opened run folder (docs/run_folder.md).

    Args:
        path: the folder.
        settings: the content of `run.json`.
        records: the content of each committed task's `task.json`, in order.
    """

    def __init__(self, path: Path, settings: dict, records: list[dict]):
        self.path = path
        self.settings = settings
        self.records = records

    @classmethod
    def open(cls, path) -> RunRecords:
        """Open a run folder and check its structure (not every hash).

        Raises:
            InputError: if it is missing, not a run, of a newer format, or a
                file is missing or damaged (the file is named).
        """
        path = Path(path)
        if not path.is_dir():
            raise InputError(
                f"Expected a run folder. Received: {str(path)!r}, which is not "
                "a folder. Give the folder that --run_dir named in training."
            )
        if not (path / RUN).is_file():
            raise InputError(
                f"Expected a run folder with {RUN}. Received: {str(path)!r}, "
                "which has none. Give the folder that --run_dir named in "
                "training."
            )
        settings = read_json(path / RUN)
        version = settings.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise InputError(
                f"Expected {path / RUN} to be of format {FORMAT} or older. "
                f"Received: format {version}. Upgrade cckeras."
            )
        check_schema("run", settings, path / RUN)
        _check_seal(settings, path / RUN)
        return cls(path, settings, list(_committed(path)))

    @property
    def config(self) -> dict:
        """The resolved recipe."""
        return self.settings["config"]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The committed tasks in order."""
        return tuple(Task.from_record(record) for record in self.records)

    def record(self, name: str) -> dict:
        """Return a committed task's record.

        Raises:
            InputError: if the run has no such task.
        """
        choose("task", name, [record["name"] for record in self.records])
        return next(r for r in self.records if r["name"] == name)

    def folder(self, name: str) -> Path:
        """Return a committed task's folder."""
        record = self.record(name)
        return self.path / TASKS / Task.from_record(record).folder

    def probe(self, name: str) -> Probe:
        """Return a task's stored probe images and logits."""
        path = self.folder(name) / PROBE
        stored = load(read_checked(path, self.record(name)["files"][PROBE]))
        return Probe(stored["images"], stored["logits"])


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing, unreadable or not a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"Expected the file {path}. Received: it is missing. Restore it "
            "from a copy."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected {path} to be JSON. Received: a damaged file ({error}). "
            "Restore it from a copy."
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"Expected {path} to hold a JSON object. Received: "
            f"{type(value).__name__}. Restore it from a copy."
        )
    return value


def read_checked(path: Path, digest: str) -> bytes:
    """Read a committed file and compare its hash.

    Raises:
        InputError: if it is missing, unreadable or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected the file {path}. Received: {error.strerror}. Restore "
            "it from a copy."
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"Expected {path} to be as it was committed. Received: a damaged "
            "file (its SHA-256 differs). Restore it from a copy."
        )
    return content


def _check_seal(record, path):
    if record.get("seal") != files.seal(record)["seal"]:
        raise InputError(
            f"Expected {path} to be as it was written. Received: a damaged "
            "file (its seal differs). Restore it from a copy."
        )


def _committed(path: Path):
    """Yield the records of the committed tasks in order, checked."""
    if not (path / LAST).is_file():
        return
    last = (path / LAST).read_text(encoding="utf-8", errors="replace").strip()
    number, _, _ = last.partition("-")
    if not number.isdigit() or int(number) < 1:
        raise InputError(
            f"Expected {path / LAST} to name a task folder. Received: "
            f"{last!r}. Restore it from a copy."
        )
    folders = {
        folder.name.partition("-")[0]: folder
        for folder in sorted((path / TASKS).iterdir())
        if not folder.name.startswith(files.TEMPORARY)
    }
    for index in range(1, int(number) + 1):
        folder = folders.get(f"{index:02d}")
        if folder is None:
            raise InputError(
                f"Expected the folder of task {index} in {path / TASKS}, since "
                f"{LAST} names {last!r}. Received: none. Restore it from a copy."
            )
        record = read_json(folder / TASK)
        check_schema("task", record, folder / TASK)
        _check_seal(record, folder / TASK)
        if folder.name != Task.from_record(record).folder:
            raise InputError(
                f"Expected {folder / TASK} to describe {folder.name!r}. "
                f"Received: {Task.from_record(record).folder!r}. Restore it from "
                "a copy."
            )
        yield record
    if folder.name != last:
        raise InputError(
            f"Expected {path / LAST} to name {folder.name!r}. Received: "
            f"{last!r}. Restore it from a copy."
        )
