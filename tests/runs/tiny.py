"""A run whose method has no network: commits take milliseconds."""

from pathlib import Path

import numpy as np

from cckeras.ownership import Ownership
from cckeras.runs.records import Probe
from cckeras.runs.run import Run
from cckeras.task import Task
from tests.runs.small import recipe

ENVIRONMENT = {
    "backend": "none",
    "backend_version": "1",
    "keras": "3",
    "processor": "none",
    "threads": 1,
}


class TinyMethod:
    """What `Run.commit` needs of a method: a ledger and values.

    Every task owns one variable, and half of one that all share.
    """

    def __init__(self, tasks):
        rng = np.random.default_rng(7)
        self.ledger = Ownership()
        self.ledger.add("shared", (len(tasks), 3))
        self.all = {"shared": rng.random((len(tasks), 3), np.float32)}
        for task in tasks:
            name = f"{task.name}/kernel"
            self.ledger.add(name, (4, 5))
            self.ledger.claim(name, task.number)
            where = np.zeros((len(tasks), 3), bool)
            where[task.number - 1] = True
            self.ledger.claim("shared", task.number, where)
            self.all[name] = rng.random((4, 5), np.float32)

    def values(self, task):
        return {name: self.all[name] for name in self.ledger.owned(task.number)}


TASKS = tuple(
    Task(name, number, ("a", "b"))
    for number, name in enumerate(("first", "second", "third"), 1)
)
METHOD = TinyMethod(TASKS)


def new_run(path: Path) -> Run:
    """Return a new run without tasks."""
    return Run.create(path, "scratch", "digits5", recipe("scratch"))


def commit(run: Run, task: Task) -> None:
    """Commit a task, always with the same content."""
    images = np.full((2, 16, 16, 3), task.number, np.float32)
    record = {
        "name": task.name,
        "number": task.number,
        "classes": list(task.classes),
        "structure": {},
        "uses": [task.name],
        "parameters": METHOD.ledger.size(task.number),
        "multiply_adds": 1,
        "digest": METHOD.ledger.digest(task.number, METHOD.values(task)),
        "environment": ENVIRONMENT,
        "phases": [],
        "data": None,
        "metrics": {"validation_accuracy": None, "test_accuracy": 50.0},
    }
    run.commit(METHOD, record, Probe(images, images[:, 0, 0, :2].copy()))
