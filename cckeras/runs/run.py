"""A run: committed tasks that are rebuilt as networks and added to."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save

from cckeras.backbones.multiply_adds import multiply_adds
from cckeras.errors import InputError
from cckeras.methods import method_class
from cckeras.methods.base import Method
from cckeras.runs import files, tensors
from cckeras.runs.reading import read_checked, read_json
from cckeras.runs.records import (
    FORMAT,
    LAST,
    PROBE,
    RUN,
    STATISTICS,
    TASK,
    TASKS,
    TRAINING,
    WEIGHTS,
    Probe,
    RunRecords,
)
from cckeras.schemas import check_schema
from cckeras.task import Task


class Run(RunRecords):
    """An opened run folder and its networks."""

    @classmethod
    def create(cls, path: Path, method: str, benchmark: str, config) -> Run:
        """Write the `run.json` of a new run into an empty or new folder."""
        settings = files.seal(
            {
                "format": FORMAT,
                "id": uuid.uuid4().hex,
                "method": method,
                "benchmark": benchmark,
                "config": config,
            }
        )
        try:
            (path / TASKS).mkdir(parents=True, exist_ok=True)
            (path / TRAINING).mkdir(exist_ok=True)
            files.remove_leftovers(path)
            files.replace_file(path / RUN, files.dump_json(settings))
        except OSError as error:
            raise InputError(
                f"Expected {path} to be writable. Received: {error.strerror}. "
                "Choose another --run_dir, or make room."
            ) from error
        return cls(path, settings, [])

    def new_method(self, **changes) -> Method:
        """Return the run's method without any task.

        Args:
            **changes: of the recipe.
        """
        try:
            method = method_class(self.settings["method"])
        except InputError as error:
            raise InputError(f"In {self.path / RUN}: {error}") from error
        return method({**self.config, **changes})

    def load(self, only: tuple[str, ...] | None = None, **changes) -> Method:
        """Rebuild the networks from the committed files.

        Args:
            only: names of the tasks to load, in the run's order; all if None.
            **changes: of the recipe.

        Raises:
            InputError: if a file is damaged or of another shape.
        """
        method = self.new_method(**changes)
        for record in self.records:
            if only is None or record["name"] in only:
                self.restore(method, record)
        return method

    def restore(self, method: Method, record: dict) -> None:
        """Grow a method by a committed task and read the task's values."""
        task = Task.from_record(record)
        path = self.folder(task.name) / WEIGHTS
        content = read_checked(path, record["files"][WEIGHTS])
        try:
            method.grow(task, record["structure"])
            if list(method.uses(task)) != record["uses"]:
                raise ValueError(
                    f"a network that uses {', '.join(method.uses(task))}"
                )
            values = tensors.unpack(
                method.ledger, task.number, content, method.variables
            )
            method.assign(task, values)
        except (ValueError, TypeError, KeyError, SafetensorError) as error:
            raise InputError(
                f"Expected {path} to hold what task {task.name!r} owns. "
                f"Received: {error}. Restore the file from a copy."
            ) from error

    def commit(
        self,
        method: Method,
        record: dict,
        probe: Probe,
        statistics: bytes | None = None,
    ) -> None:
        """Make a trained task part of the run, atomically (design.md 6).

        Args:
            method: holds the task's values.
            record: the task's record without hashes of files.
            probe: the task's probe.
            statistics: what its images look like to the first network.
        """
        task = Task.from_record(record)
        folder = self.path / TASKS / task.folder
        content = tensors.pack(method.ledger, task.number, method.values(task))
        more = {} if statistics is None else {STATISTICS: statistics}
        check_schema("task", {**record, "files": {}}, folder / TASK)
        files.write_folder(
            folder,
            {
                WEIGHTS: content,
                PROBE: save({"images": probe.images, "logits": probe.logits}),
                **more,
                TASK: files.dump_json(record),
            },
            last=TASK,
        )
        files.replace_file(self.path / LAST, folder.name.encode() + b"\n")
        self.records.append(read_json(folder / TASK))
        self.protect()

    def protect(self) -> None:
        """Make the last task's folder read-only, where the file system can."""
        if not self.records:
            return
        folder = self.folder(self.records[-1]["name"])
        with contextlib.suppress(OSError):
            for path in (*folder.iterdir(), folder):
                path.chmod(0o555 if path.is_dir() else 0o444)


def network_record(method: Method, task: Task, here: dict) -> dict:
    """Return the part of a task's record that describes its network.

    Args:
        method: holds the task's network.
        task: the task.
        here: the environment of this process.
    """
    return {
        "name": task.name,
        "number": task.number,
        "classes": list(task.classes),
        "structure": method.structure(task),
        "uses": list(method.uses(task)),
        "parameters": method.ledger.size(task.number),
        "multiply_adds": multiply_adds(method.task_model(task.name)),
        "digest": method.digest(task),
        "environment": here,
    }
