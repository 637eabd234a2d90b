"""A run: a folder of committed tasks, opened, read and added to."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cckeras.errors import InputError
from cckeras.methods import method_class
from cckeras.methods.base import Method, Task
from cckeras.runs import files, tensors
from cckeras.schemas import check_schema

FORMAT = 1
RUN, TASK, LAST = "run.json", "task.json", "LAST"
WEIGHTS, PROBE = "weights.safetensors", "probe.safetensors"
TASKS, TRAINING = "tasks", "training"


@dataclass(frozen=True)
class Probe:
    """A few real images of a task, and its logits when it was committed."""

    images: np.ndarray
    logits: np.ndarray


class Run:
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
    def create(cls, path: Path, method: str, benchmark: str, config) -> Run:
        """Write the `run.json` of a new run into an empty or new folder."""
        settings = {
            "format": FORMAT,
            "id": uuid.uuid4().hex,
            "method": method,
            "benchmark": benchmark,
            "config": config,
        }
        try:
            (path / TASKS).mkdir(parents=True, exist_ok=True)
            (path / TRAINING).mkdir(exist_ok=True)
            files.replace_file(path / RUN, files.dump_json(settings))
        except OSError as error:
            raise InputError(
                f"Expected {path} to be writable. Received: {error.strerror}. "
                "Choose another --run_dir, or make room."
            ) from error
        return cls(path, settings, [])

    @classmethod
    def open(cls, path) -> Run:
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
        return cls(path, settings, list(_committed(path)))

    @property
    def config(self) -> dict:
        """The resolved recipe."""
        return self.settings["config"]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The committed tasks in order."""
        return tuple(as_task(record) for record in self.records)

    def record(self, name: str) -> dict:
        """Return a committed task's record.

        Raises:
            InputError: if the run has no such task.
        """
        from cckeras.errors import choose

        choose("task", name, [record["name"] for record in self.records])
        return next(r for r in self.records if r["name"] == name)

    def folder(self, name: str) -> Path:
        """Return a committed task's folder."""
        record = self.record(name)
        return self.path / TASKS / folder_name(as_task(record))

    def new_method(self) -> Method:
        """Return the run's method without any task."""
        return method_class(self.settings["method"])(self.config)

    def load(self, only: tuple[str, ...] | None = None) -> Method:
        """Rebuild the networks from the committed files.

        Args:
            only: names of the tasks to load, in the run's order; all if None.

        Raises:
            InputError: if a file is damaged or of another shape.
        """
        method = self.new_method()
        for record in self.records:
            if only is None or record["name"] in only:
                self.restore(method, record)
        return method

    def restore(self, method: Method, record: dict) -> None:
        """Grow a method by a committed task and read the task's values."""
        task = as_task(record)
        path = self.folder(task.name) / WEIGHTS
        content = read_checked(path, record["files"][WEIGHTS])
        try:
            method.grow(task, record["structure"])
            values = tensors.unpack(
                method.ledger, task.number, content, method.variables
            )
            method.assign(task, values)
        except (ValueError, SafetensorError) as error:
            raise InputError(
                f"Expected {path} to hold what task {task.name!r} owns. "
                f"Received: {error}. Restore the file from a copy."
            ) from error

    def probe(self, name: str) -> Probe:
        """Return a task's stored probe images and logits."""
        path = self.folder(name) / PROBE
        stored = load(read_checked(path, self.record(name)["files"][PROBE]))
        return Probe(stored["images"], stored["logits"])

    def commit(self, method: Method, record: dict, probe: Probe) -> None:
        """Make a trained task part of the run, atomically (design.md 6).

        Args:
            method: holds the task's values.
            record: the task's record without hashes of files.
            probe: the task's probe.
        """
        task = as_task(record)
        folder = self.path / TASKS / folder_name(task)
        content = tensors.pack(method.ledger, task.number, method.values(task))
        check_schema("task", {**record, "files": {}}, folder / TASK)
        files.write_folder(
            folder,
            {
                WEIGHTS: content,
                PROBE: save({"images": probe.images, "logits": probe.logits}),
                TASK: files.dump_json(record),
            },
            last=TASK,
        )
        files.replace_file(self.path / LAST, folder.name.encode() + b"\n")
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        self.records.append(read_json(folder / TASK))


def as_task(record: dict) -> Task:
    """Return the task of a record."""
    return Task(record["name"], record["number"], tuple(record["classes"]))


def folder_name(task: Task) -> str:
    """Return the name of a task's folder, as `03-flowers`."""
    return f"{task.number:02d}-{task.name}"


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
    if files.hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"Expected {path} to be as it was committed. Received: a damaged "
            "file (its SHA-256 differs). Restore it from a copy."
        )
    return content


def _committed(path: Path):
    """Yield the records of the committed tasks in order, checked."""
    if not (path / LAST).is_file():
        return
    last = (path / LAST).read_text(encoding="utf-8", errors="replace").strip()
    number, _, _ = last.partition("-")
    if not number.isdigit():
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
        if folder.name != folder_name(as_task(record)):
            raise InputError(
                f"Expected {folder / TASK} to describe {folder.name!r}. "
                f"Received: {folder_name(as_task(record))!r}. Restore it from "
                "a copy."
            )
        yield record
