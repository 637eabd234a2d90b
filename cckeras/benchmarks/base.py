"""What a benchmark is: task names in order, and the data of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cckeras.data.sources import TaskData


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
