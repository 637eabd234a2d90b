"""What adding a task costs beside its training, as a run grows."""

import statistics
import time
from collections import defaultdict

import numpy as np
import pytest

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import ArrayImages, Split, TaskData
from cckeras.methods.base import Method, PhaseResult
from cckeras.runs.run import Run
from cckeras.training import learn as loop
from tests.runs.small import recipe

TASKS = 200
# Medians over neighbours: what one task costs is noisy.
FIRST, LAST = range(2, 9), range(TASKS - 6, TASKS + 1)
# What `learn` does for a task, except for loading data and training.
PARTS = (
    "grow",
    "_record",
    "changed_tasks",
    "probe_logits",
    "measure",
    "commit",
)

pytestmark = pytest.mark.slow


def no_training(phase, *_):
    return PhaseResult(phase.name, 1, 1, 50.0, 50.0, {})


def benchmark(config):
    size = config["image_size"]
    images = np.random.default_rng(0).integers(0, 256, (16, size, size, 3))
    split = Split(ArrayImages(images.astype(np.uint8)), np.arange(16) % 2)
    data = TaskData(("a", "b"), split, split, split)
    names = tuple(f"task{number}" for number in range(1, TASKS + 1))
    return Benchmark("digits5", names, lambda name: data)


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    """Return `{part: processor seconds of each task}`; time in which other
    processes run, or the disk works, counts not."""
    config = recipe("condconv", experts="first")
    spent = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_phase", no_training)
        patch.setattr(loop, "accuracy", lambda *_: 50.0)
        for part in PARTS:
            owner = {"grow": Method, "commit": Run}.get(part, loop)
            _measure(patch, owner, part, spent[part])
        path = tmp_path_factory.mktemp("cost") / "run"
        run = loop.open_or_create(path, "condconv", "digits5", config)
        loop.learn(run, benchmark(config))
    assert len(run.records) == TASKS
    return spent


def _measure(patch, owner, name, spent):
    real = getattr(owner, name)

    def measured(*args, **kwargs):
        start = time.process_time()
        result = real(*args, **kwargs)
        spent.append(time.process_time() - start)
        return result

    patch.setattr(owner, name, measured)


def test_adding_the_200th_task_costs_at_most_twice_the_2nd(seconds):
    first, last = (
        {
            part: statistics.median(seconds[part][n - 1] for n in numbers)
            for part in PARTS
        }
        for numbers in (FIRST, LAST)
    )
    table = {
        part: [round(1000 * cost[part], 1) for cost in (first, last)]
        for part in PARTS
    }
    ratio = sum(last.values()) / sum(first.values())
    print(f"milliseconds of task 2 and {TASKS}: {table}; {ratio:.2f} times")
    assert ratio <= 2
