"""The records of a run folder: read and checked without any network."""

from __future__ import annotations

import itertools
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from cckeras.errors import InputError, choose
from cckeras.runs import files
from cckeras.runs.lock import NAME as LOCK
from cckeras.runs.reading import check_seal, foreign, read_checked, read_json
from cckeras.schemas import check_schema
from cckeras.task import Task, check_task_names

FORMAT = 1
RUN, TASK, LAST = "run.json", "task.json", "LAST"
WEIGHTS, PROBE = "weights.safetensors", "probe.safetensors"
# What versions did that did not have these keys yet.
EARLIER = {
    "accumulate_steps": 1,
    "precision": "float32",
    "distribute": "none",
    "synchronized_norms": False,
    "recompute": False,
}
STATISTICS = "discriminants.safetensors"
TASKS, TRAINING = "tasks", "training"
TASK_FOLDER = re.compile(r"([0-9]{2,})-.+", re.DOTALL)


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
        check_schema("config", settings["config"], path / RUN)
        check_seal(settings, path / RUN)
        settings["config"] = {**EARLIER, **settings["config"]}
        return cls(path, settings, _committed(path))

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

    def check_same(self, method: str, benchmark: str, config: dict) -> None:
        """Check that a training is the one that this run began with.

        Raises:
            InputError: for another method, benchmark or configuration; the
                keys are named.
        """
        for key, value in (("method", method), ("benchmark", benchmark)):
            if self.settings[key] != value:
                raise InputError(
                    f"Expected --{key}={self.settings[key]} to go on with the "
                    f"run {self.path}. Received: --{key}={value}. Choose "
                    "another --run_dir."
                )
        differences = ", ".join(
            f"{key}={self.config.get(key)!r} (received {config.get(key)!r})"
            for key in sorted({*config, *self.config})
            if config.get(key) != self.config.get(key)
        )
        if differences:
            raise InputError(
                f"Expected the configuration of the run {self.path}: "
                f"{differences}. Repeat these values, or choose another "
                "--run_dir."
            )

    def uncommitted(self) -> list[Path]:
        """Return the task folders that an interrupted commit left."""
        committed = {task.folder for task in self.tasks}
        return [
            folder
            for folder in _task_folders(self.path).values()
            if folder.name not in committed
        ]

    def statistics(self, name: str) -> bytes | None:
        """Return the file of what a task's images look like to the first
        network, None if the task was learned without."""
        digest = self.record(name)["files"].get(STATISTICS)
        if digest is None:
            return None
        return read_checked(self.folder(name) / STATISTICS, digest)

    def probe(self, name: str) -> Probe:
        """Return a task's stored probe images and logits."""
        path = self.folder(name) / PROBE
        record = self.record(name)
        content = read_checked(path, record["files"][PROBE])
        try:
            stored = load(content)
            probe = Probe(stored["images"], stored["logits"])
        except (SafetensorError, KeyError) as error:
            raise foreign(path, f"not a probe ({error})") from error
        images, logits = probe.images, probe.logits
        size = self.config["image_size"]
        if (
            (images.dtype, logits.dtype) != (np.float32, np.float32)
            or images.shape[1:] != (size, size, 3)
            or logits.shape != (len(images), len(record["classes"]))
            or not len(images)
        ):
            raise foreign(
                path,
                f"images {images.dtype} {images.shape}, "
                f"logits {logits.dtype} {logits.shape}",
            )
        return probe


def is_unused(path: Path) -> bool:
    """Return whether a run can begin in a folder: it is missing, or empty but
    for what a run that was killed while it was being created leaves."""
    if not path.is_dir():
        return not path.exists()
    names = {entry.name for entry in path.iterdir()}
    left = {name for name in names if not name.startswith(files.TEMPORARY)}
    made = [*path.glob(f"{TASKS}/*"), *path.glob(f"{TRAINING}/*")]
    return left <= {LOCK, "logs", TASKS, TRAINING} and not made


def _read_last(path: Path) -> str | None:
    """Return the name of the last committed folder, None if there is none."""
    try:
        return files.read(path / LAST).decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"Expected the file {path / LAST}. Received: {error.strerror}. "
            "Restore it from a copy."
        ) from error


def _task_folders(path: Path) -> dict[int, Path]:
    folders = {}
    entries = sorted(
        (path / TASKS).iterdir() if (path / TASKS).is_dir() else ()
    )
    for folder in entries:
        match = TASK_FOLDER.fullmatch(folder.name)
        if match and folder.is_dir():
            number = int(match.group(1))
            if number in folders:
                raise InputError(
                    f"Expected one folder of task {number} in {path / TASKS}. "
                    f"Received: {folders[number].name!r} and {folder.name!r}. "
                    "Move the one that is not of this run away."
                )
            folders[number] = folder
    return folders


def _committed(path: Path) -> list[dict]:
    """Return the records of the committed tasks in order, checked."""
    last = _read_last(path)
    folders = _task_folders(path)
    records = []
    if last is not None:
        if last not in [folder.name for folder in folders.values()]:
            raise InputError(
                f"Expected {path / LAST} to name a folder in {path / TASKS}. "
                f"Received: {last!r}. Restore both from a copy."
            )
        for number in itertools.count(1):
            folder = folders.pop(number, None)
            if folder is None:
                raise InputError(
                    f"Expected the folder of task {number} in {path / TASKS}, "
                    f"since {LAST} names {last!r}. Received: none. Restore it "
                    "from a copy."
                )
            records.append(_task_record(folder, records))
            if folder.name == last:
                break
    _check_rest(path, last, len(records), folders)
    return records


def _task_record(folder, earlier):
    record = read_json(folder / TASK)
    check_schema("task", record, folder / TASK)
    check_seal(record, folder / TASK)
    if folder.name != Task.from_record(record).folder:
        raise InputError(
            f"Expected {folder / TASK} to describe {folder.name!r}. "
            f"Received: {Task.from_record(record).folder!r}. Restore it from "
            "a copy."
        )
    for name in (WEIGHTS, PROBE):
        if name not in record["files"]:
            raise foreign(folder / TASK, f"no hash of {name}")
    try:
        check_task_names(entry["name"] for entry in [*earlier, record])
    except InputError as error:
        raise foreign(folder / TASK, str(error)) from error
    return record


def _check_rest(path, last, committed, rest):
    """Check that folders beyond the last one are what a killed commit leaves:
    the next task's, not yet read-only. Else LAST is lost, or an old one, and
    the next training would delete tasks."""
    for number, folder in rest.items():
        try:
            writable = folder.stat().st_mode & stat.S_IWUSR
        except FileNotFoundError:  # Training has begun, and removed it.
            continue
        if (number == committed + 1 and writable) or _read_last(path) != last:
            continue
        raise InputError(
            f"Expected {path / LAST} to name the last folder in "
            f"{path / TASKS}. Received: {last or 'no such file'}, but there is "
            f"{folder.name!r}. Restore {LAST} from a copy, or move that folder "
            "away."
        )
