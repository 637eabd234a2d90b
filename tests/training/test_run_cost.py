"""What a run will cost: against what the same run did cost."""

import pytest

from cckeras.benchmarks.base import select_tasks
from cckeras.benchmarks.digits5 import digits5
from cckeras.runs.records import LAST, TASKS, TRAINING
from cckeras.runs.run import Run
from cckeras.training import cost as module
from cckeras.training.cost import estimate_cost
from cckeras.training.timing import Timing
from tests.runs.small import (
    NAMES,
    Killed,
    contents,
    copy_run,
    learn_digits,
    recipe,
    rewind,
    states,
)

THREE = (*NAMES, "four_five")


def estimate(path, config, method="condconv", tasks=NAMES):
    benchmark = select_tasks(digits5(config), ",".join(tasks))
    return estimate_cost(path, method, config, benchmark)


@pytest.fixture
def no_timing(monkeypatch):
    """Every phase takes 10 s, and 1 s for each of its epochs."""
    timing = Timing(10.0, 0.0, 0.0, 0.0, 1.0, 100)
    monkeypatch.setattr(module, "time_phase", lambda *_: timing)
    monkeypatch.setattr(module, "accuracy", lambda *_: None)


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """The cost of the run `learned`, and a folder that is not there."""
    path = tmp_path_factory.mktemp("cost") / "run"
    return estimate(path, recipe()), path


def test_what_is_counted_is_what_the_run_had(timed, learned):
    cost, path = timed
    assert not path.exists()
    records = Run.open(learned).records
    assert [task.name for task in cost.tasks] == list(NAMES)
    for task, record in zip(cost.tasks, records, strict=True):
        train = digits5(recipe()).load(task.name).train
        assert task.parameters == record["parameters"]
        assert task.multiply_adds == 3 * 32 * record["multiply_adds"]
        assert task.epochs == sum(p["epochs"] for p in record["phases"])
        assert task.images == len(train)
        assert task.steps == task.epochs * -(-len(train) // 32)
    stored = sum(map(len, contents(learned / TASKS).values()))
    total = cost.to_json()
    assert total["disk_bytes"] == pytest.approx(stored, rel=0.01)
    assert total["steps"] == sum(task.steps for task in cost.tasks)
    assert total["timed"] == list(NAMES)
    assert total["seconds"] > 0
    assert total["peak_memory_bytes"] > 1e8


@pytest.mark.slow
def test_a_run_ends_with_the_bits_it_has_without_an_estimate(learned, tmp_path):
    path = tmp_path / "run"
    estimate(path, recipe())
    learn_digits(path, recipe())
    for name, content in contents(learned).items():
        if name.startswith(TASKS) or name == LAST:
            assert (path / name).read_bytes() == content, name


def test_a_task_that_was_begun_costs_what_is_left(learned, timed, tmp_path):
    path = copy_run(learned, tmp_path / "run")
    rewind(path, 1)

    def kill(task, data, phase):
        import keras

        def on_epoch_end(epoch, logs):
            raise Killed

        return (keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end),)

    with pytest.raises(Killed):
        learn_digits(path, recipe(), observe=kill)
    before = states(path)
    cost = estimate(path, recipe())
    assert states(path) == before
    (task,) = cost.tasks
    whole = timed[0].tasks[1]
    assert (task.name, task.epochs) == ("two_three", 1)
    assert task.steps == whole.steps / 2
    assert task.parameters == whole.parameters
    # One checkpoint is there, and two are kept.
    stored = sum(map(len, contents(path / TRAINING).values()))
    assert cost.checkpoint_bytes == pytest.approx(2 * stored, rel=0.05)


def test_a_finished_run_costs_nothing(learned):
    assert estimate(learned, recipe()) is None


@pytest.mark.parametrize(
    ("method", "changes", "epochs"),
    [
        ("condconv", {}, [2, 2, 2]),
        ("condconv", {"settle_epochs": 3}, [2, 5, 5]),
        ("scratch", {}, [2, 2, 2]),
        # A network of its own, and one from each task before.
        ("finetune", {"sources": "all"}, [2, 4, 6]),
        ("finetune", {"sources": "previous"}, [2, 2, 2]),
    ],
)
def test_phases_are_counted(no_timing, tmp_path, method, changes, epochs):
    config = recipe(method, **changes)
    cost = estimate(tmp_path / "run", config, method, THREE)
    assert [task.epochs for task in cost.tasks] == epochs
    # Only networks made of others are timed once more.
    more = ("two_three",) if method == "condconv" else ()
    assert cost.timed == ("zero_one", *more)


def test_seconds_follow_phases_and_epochs(no_timing, tmp_path):
    config = recipe(settle_epochs=3)
    cost = estimate(tmp_path / "run", config, tasks=THREE)
    expected = [10 + 2, 20 + 5, 20 + 5]
    for task, seconds in zip(cost.tasks, expected, strict=True):
        assert seconds < task.seconds < seconds + 5  # With building it.


def test_steps_take_longer_by_their_multiply_adds(monkeypatch, tmp_path):
    timing = Timing(0.0, 0.0, 1000.0, 0.0, 0.0, 100)
    monkeypatch.setattr(module, "time_phase", lambda *_: timing)
    monkeypatch.setattr(module, "accuracy", lambda *_: None)
    cost = estimate(tmp_path / "run", recipe(), tasks=THREE)
    two, three = cost.tasks[1:]
    assert three.multiply_adds > two.multiply_adds
    ratio = three.multiply_adds / two.multiply_adds
    images = three.images / two.images
    assert three.seconds / two.seconds == pytest.approx(
        ratio * images, rel=0.01
    )


def test_a_pretrained_first_task_is_not_paid_for(no_timing, learned, tmp_path):
    config = {**recipe(), "pretrained": str(learned)}
    cost = estimate(tmp_path / "run", config, tasks=("four_five",))
    plain = estimate(tmp_path / "run", recipe(), tasks=("four_five",))
    assert [task.name for task in cost.tasks] == ["four_five"]
    assert cost.tasks[0].multiply_adds > plain.tasks[0].multiply_adds
