"""What a run will cost, before it: counted, and timed on a scratch copy."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cckeras.backbones.multiply_adds import multiply_adds
from cckeras.benchmarks.base import Benchmark
from cckeras.data.pipeline import steps_per_epoch
from cckeras.methods import method_class
from cckeras.methods.base import Method, PhaseResult
from cckeras.runs import tensors
from cckeras.runs.records import RUN, TRAINING
from cckeras.runs.run import Run
from cckeras.runs.statistics import images_seen, stored_numbers
from cckeras.runs.unforgetting import PROBE_IMAGES
from cckeras.task import Task
from cckeras.training.checkpoint import KEPT, Checkpoints
from cckeras.training.phase import accuracy, compile_model, forget_training
from cckeras.training.pretrained import first_task
from cckeras.training.timing import Timing, time_phase

# A step computes a network's outputs, and two products of the same size for
# the gradients of its inputs and of its weights.
STEP_PASSES = 3
# A number of a learning curve in task.json, of which an epoch has four.
EPOCH_BYTES = 4 * 16
RECORD_BYTES = 2000


@dataclass(frozen=True)
class TaskCost:
    """What learning one task will cost.

    Args:
        name: the task.
        images: training images an epoch.
        epochs: epochs that are left, of all phases.
        steps: training steps that are left.
        multiply_adds: a step's, of a full batch.
        seconds: estimated time, from the network's building to its commit.
        parameters: elements that the task owns.
        disk_bytes: of its committed files.
    """

    name: str
    images: int
    epochs: int
    steps: int
    multiply_adds: int
    seconds: float
    parameters: int
    disk_bytes: int


@dataclass(frozen=True)
class RunCost:
    """What learning the tasks that a run lacks will cost.

    Args:
        tasks: every task's, in order.
        timed: names of the tasks that were timed; times of the others follow
            from them by multiply-adds.
        checkpoint_bytes: of the checkpoints kept while a task is learned.
        peak_memory_bytes: largest resident memory of this process so far,
            with all networks and while the timed steps ran.
    """

    tasks: tuple[TaskCost, ...]
    timed: tuple[str, ...]
    checkpoint_bytes: int
    peak_memory_bytes: int

    def to_json(self) -> dict:
        """Return it as in cckeras/schemas/train.json."""
        return {
            "epochs": sum(task.epochs for task in self.tasks),
            "images": sum(task.images * task.epochs for task in self.tasks),
            "steps": sum(task.steps for task in self.tasks),
            "multiply_adds": sum(
                task.steps * task.multiply_adds for task in self.tasks
            ),
            "seconds": round(sum(task.seconds for task in self.tasks), 1),
            "disk_bytes": sum(task.disk_bytes for task in self.tasks),
            "checkpoint_bytes": self.checkpoint_bytes,
            "peak_memory_bytes": self.peak_memory_bytes,
            "timed": list(self.timed),
            "tasks": [
                {**asdict(task), "seconds": round(task.seconds, 1)}
                for task in self.tasks
            ],
        }


def estimate_cost(
    folder: Path,
    method_name: str,
    config: dict,
    benchmark: Benchmark,
    tell: Callable[[str], None] = lambda text: None,
) -> RunCost | None:
    """Estimate what learning the tasks that a run lacks will cost.

    All its networks are built in a scratch copy, which is thrown away. One
    task is trained there for about a second beside compiling, and a later one
    if that is made of earlier tasks, too, and the first is not. Nothing is
    written, and no random state is used.

    Args:
        folder: of the run; it need not exist.
        method_name: of a new run.
        config: recipe of a new run.
        benchmark: tasks and data.
        tell: told what is being done.

    Returns:
        None if no task is left to be learned.

    Raises:
        InputError: if a file of the run is damaged.
    """
    method = _scratch_copy(folder, method_name, config)
    names = [name for name in benchmark.tasks if name not in method.tasks]
    if not names:
        return None
    scratch = _Scratch(method, Checkpoints(folder / TRAINING), tell)
    # Of the later tasks the middle one is nearest to all others.
    timed = (0, len(names) // 2)
    parts = [
        scratch.grow(name, benchmark.load(name), number in timed)
        for number, name in enumerate(names)
    ]
    cost = RunCost(
        tuple(scratch.finish(*part) for part in parts),
        tuple(sample.task for sample in scratch.samples.values()),
        KEPT * scratch.checkpoint_bytes(),
        _peak_memory(),
    )
    del method, scratch
    gc.collect()  # Networks are in cycles: only this frees their tensors.
    return cost


def _scratch_copy(folder, method_name, config) -> Method:
    """Return the run's method with the tasks that it begins with."""
    if (folder / RUN).is_file():
        run = Run.open(folder)
        method, started = run.load(), bool(run.records)
    else:
        method, started = method_class(method_name)(config), False
    if config.get("pretrained") and not started:
        method.grow(first_task(config["pretrained"], config))
    return method


@dataclass(frozen=True)
class _Sample:
    """What was timed: a task, and the multiply-adds of its network."""

    task: str
    timing: Timing
    multiply_adds: int
    parameters: int


class _Scratch:
    """A copy of a run's method, which grows by the tasks to be learned.

    Args:
        method: with the tasks that are learned.
        checkpoints: of the run, for a task that was begun.
        tell: told what is being done.
    """

    def __init__(self, method, checkpoints, tell):
        self.method = method
        self.checkpoints = checkpoints
        self.tell = tell
        # One for networks that stand alone, one for those that use others.
        self.samples: dict[bool, _Sample] = {}

    def grow(self, name, data, timed):
        """Build a task's network, and time it if its kind was not.

        Returns:
            `(cost, data, epochs, kind)`: the cost without training, the
            images, the epochs left of each phase, and the key of `samples`.
        """
        method, config = self.method, self.method.config
        task = Task(name, len(method.tasks) + 1, tuple(data.classes))
        start = time.perf_counter()
        method.grow(task)
        built = time.perf_counter() - start
        kind = len(method.uses(task)) == 1
        passes = multiply_adds(method.task_model(name))
        phases = method.phases(task)
        first = next(phases)
        if timed and kind not in self.samples:
            timing = self._time(first, task, data)
            self.samples[kind] = _Sample(
                name, timing, passes, method.ledger.size(task.number)
            )
        epochs = self._left(name, _epochs(first, phases))
        steps = steps_per_epoch(len(data.train), config["batch_size"])
        cost = TaskCost(
            name,
            len(data.train),
            sum(epochs),
            sum(epochs) * steps,
            STEP_PASSES * config["batch_size"] * passes,
            built,
            method.ledger.size(task.number),
            self._disk_bytes(task, data, sum(epochs)),
        )
        return cost, data, epochs, kind

    def finish(self, cost, data, epochs, kind) -> TaskCost:
        """Return a task's cost with the time of its training."""
        sample = self.samples.get(kind) or next(iter(self.samples.values()))
        batch = self.method.config["batch_size"]
        passes = cost.multiply_adds / STEP_PASSES / batch
        ratio = passes / sample.multiply_adds
        seconds = cost.seconds + sample.timing.first_test_seconds(data, ratio)
        for number in epochs:
            seconds += sample.timing.phase_seconds(data, batch, number, ratio)
        looking = self._first_multiply_adds() / sample.multiply_adds
        seconds += sample.timing.answer_seconds(images_seen(data), looking)
        return replace(cost, seconds=seconds)

    def _first_multiply_adds(self):
        return multiply_adds(
            self.method.task_model(next(iter(self.method.tasks)))
        )

    def checkpoint_bytes(self) -> int:
        """Return the largest checkpoint's size."""
        sizes = [
            self.method.ledger.size(task.number)
            for task in self.method.tasks.values()
        ]
        return max(
            round(sample.timing.checkpoint_bytes * size / sample.parameters)
            for sample in self.samples.values()
            for size in sizes
        )

    def _time(self, phase, task, data):
        self.tell(f"timing training steps of task {task.name}")
        model = self.method.task_model(task.name)
        if not self.samples:
            # What happens once in a process belongs to no task.
            compile_model(model, "sgd")
            accuracy(model, data.train.subset(np.arange(8)))
        timing = time_phase(phase, self.method, task, data)
        forget_training(phase.model)
        return timing

    def _left(self, name, epochs):
        """Return the epochs that a task which was begun has left."""
        state = self.checkpoints.newest(name)
        if state is None:
            return epochs
        left = epochs[state.phase :]
        return [number - state.epoch * (not n) for n, number in enumerate(left)]

    def _disk_bytes(self, task, data, epochs):
        values = self.method.values(task)
        weights = len(tensors.pack(self.method.ledger, task.number, values))
        size = self.method.config["image_size"]
        splits = (data.test, data.validation, data.train)
        probes = min(PROBE_IMAGES, next(len(s) for s in splits if len(s)))
        numbers = probes * (3 * size * size + len(data.classes))
        first = self.method.task_model(next(iter(self.method.tasks)))
        numbers += stored_numbers(first, len(data.classes))
        return weights + 4 * numbers + RECORD_BYTES + epochs * EPOCH_BYTES


def _epochs(first, phases) -> list[int]:
    """Return the epochs of all phases, by telling a task's generator that
    each has ended."""
    planned = [first]
    while True:
        phase = planned[-1]
        ended = PhaseResult(
            phase.name, phase.epochs, phase.epochs, None, None, {}
        )
        try:
            planned.append(phases.send(ended))
        except StopIteration:
            return [phase.epochs for phase in planned]


def _peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # What the system counts below begins with the parent process's.
        return 1024 * int(
            status.read_text("ascii").split("VmHWM:")[1].split()[0]
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
