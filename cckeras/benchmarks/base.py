"""What a benchmark is: task names in order, and the data of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cckeras.data.sources import TaskData
from cckeras.errors import InputError, choose
from cckeras.task import check_task_names


@dataclass(frozen=True)
class Benchmark:
    """A sequence of tasks.

    Args:
        name: the benchmark's name.
        tasks: names of the tasks in order.
        load: returns the `TaskData` of a name.
        published: `{method: {task: accuracy in percent}}`, rows of the paper
            to print beside ours.
    """

    name: str
    tasks: tuple[str, ...]
    load: Callable[[str], TaskData]
    published: dict[str, dict[str, float]] = field(default_factory=dict)


def select_tasks(benchmark: Benchmark, text: str | None) -> Benchmark:
    """Return a benchmark of some of its tasks, in the order given.

    Args:
        benchmark: all tasks.
        text: names as `a,b,c`; all tasks if None.

    Raises:
        InputError: for a task that the benchmark does not have, or one given
            twice.
    """
    if text is None:
        check_task_names(benchmark.tasks)
        return benchmark
    names = tuple(name for name in text.split(",") if name)
    if not names:
        raise InputError(
            "Expected --tasks=NAME,NAME. Received: no name. Some of: "
            f"{', '.join(benchmark.tasks)}."
        )
    check_task_names(names)
    for name in names:
        choose("a task of --tasks", name, benchmark.tasks)
    return replace(benchmark, tasks=names)
