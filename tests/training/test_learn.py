"""The training loop: what is resumed, refused, kept, and what a task costs."""

import shutil

import keras
import numpy as np
import pytest

from cckeras.benchmarks.digits5 import digits5
from cckeras.errors import CheckError, InputError
from cckeras.methods.base import Method
from cckeras.runs.environment import environment
from cckeras.runs.records import LAST, TASKS, TRAINING
from cckeras.runs.run import Run
from cckeras.runs.verify import verify_run
from cckeras.training.learn import learn
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


class Observer:
    """Records what is trained, and ends the process after an epoch.

    Args:
        last: `(phase, finished epochs)` after which to end it.
    """

    def __init__(self, last=None):
        self.last = last
        self.epochs = []

    def __call__(self, task, data, phase):
        def on_epoch_end(epoch, logs):
            self.epochs.append((phase.name, epoch + 1))
            if self.epochs[-1] == self.last:
                raise Killed

        return (keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end),)


def committed(path):
    """Return the committed files, except for what a run has of its own."""
    return {
        name: content
        for name, content in contents(path).items()
        if name.startswith(TASKS) or name == LAST
    }


def holds(path):
    verdicts = list(verify_run(Run.open(path), environment(0)))
    return [verdict.task for verdict in verdicts if verdict.holds]


@pytest.fixture
def one_task(learned, tmp_path):
    """A run that has learned the first of the two tasks."""
    path = copy_run(learned, tmp_path / "one_task")
    rewind(path, 1)
    return path


def test_a_task_killed_after_every_epoch_ends_with_the_same_bits(
    learned, one_task
):
    for epoch in (1, 2):
        observer = Observer(("train", epoch))
        with pytest.raises(Killed):
            learn_digits(one_task, recipe(), observe=observer)
        # It went on, and did not begin again.
        assert observer.epochs == [("train", epoch)]
        assert [task.name for task in Run.open(one_task).tasks] == ["zero_one"]
    observer = Observer()
    learn_digits(one_task, recipe(), observe=observer)
    assert observer.epochs == []
    assert committed(one_task) == committed(learned)
    assert list((one_task / TRAINING).iterdir()) == []


def test_a_damaged_checkpoint_gives_way_to_the_one_before(learned, one_task):
    with pytest.raises(Killed):
        learn_digits(one_task, recipe(), observe=Observer(("train", 2)))
    newest = one_task / TRAINING / "0000-00002" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    observer = Observer()
    learn_digits(one_task, recipe(), observe=observer)
    assert observer.epochs == [("train", 2)]
    assert committed(one_task) == committed(learned)


def test_another_task_may_be_learned_in_place_of_one_that_was_begun(
    learned, one_task
):
    """Checkpoints of the one that was begun are in nobody's way."""
    with pytest.raises(Killed):
        learn_digits(
            one_task,
            recipe(),
            tasks=("zero_one", "four_five"),
            observe=Observer(("train", 2)),
        )
    for epoch in (1, 2):
        observer = Observer(("train", epoch))
        with pytest.raises(Killed):
            learn_digits(one_task, recipe(), observe=observer)
        assert observer.epochs == [("train", epoch)]
    learn_digits(one_task, recipe())
    assert committed(one_task) == committed(learned)


def test_adding_a_task_to_a_finished_run_leaves_its_files_alone(
    learned, tmp_path
):
    path = copy_run(learned, tmp_path / "run")
    before = states(path / TASKS)
    learn_digits(path, recipe(), tasks=(*NAMES, "four_five"))
    after = states(path / TASKS)
    assert {name: after[name] for name in before} == before
    assert holds(path) == [*NAMES, "four_five"]
    modes = {file.stat().st_mode & 0o222 for file in (path / TASKS).rglob("*")}
    assert modes == {0}


def test_a_copy_that_lost_its_empty_folder_goes_on(learned, one_task):
    (one_task / TRAINING).rmdir()
    learn_digits(one_task, recipe())
    assert committed(one_task) == committed(learned)


class TestChangedTasks:
    """A bug that lets a new task train what an old one owns."""

    @pytest.fixture
    def bug(self, monkeypatch):
        real = Method.grow

        def grow(self, task, structure=None):
            real(self, task, structure)
            if task.name == "two_three" and structure is None:
                self.variables["zero_one/conv1/expert"].trainable = True

        monkeypatch.setattr(Method, "grow", grow)
        return monkeypatch

    def test_it_is_caught_and_nothing_is_committed(
        self, bug, learned, one_task
    ):
        before = states(one_task / TASKS)
        message = "two_three.*'zero_one' owns is no longer.*Nothing was commit"
        with pytest.raises(CheckError, match=message):
            learn_digits(one_task, recipe())
        assert states(one_task / TASKS) == before
        assert holds(one_task) == ["zero_one"]
        assert list((one_task / TRAINING).iterdir()) == []
        bug.undo()
        learn_digits(one_task, recipe())
        assert committed(one_task) == committed(learned)

    def test_changed_logits_are_caught_where_no_variable_has_changed(
        self, one_task, monkeypatch
    ):
        """As a layer would cause it that is shared and changes by growing."""
        real = Method.task_model

        def task_model(self, name):
            model = real(self, name)
            if name == "zero_one" and "two_three" in self.tasks:
                return keras.Model(model.input, model.output + 1e-7)
            return model

        before = states(one_task / TASKS)
        monkeypatch.setattr(Method, "task_model", task_model)
        message = "the logits of task 'zero_one' are NOT equal"
        with pytest.raises(CheckError, match=message):
            learn_digits(one_task, recipe())
        assert states(one_task / TASKS) == before


@pytest.mark.parametrize("key", ["learning_rate", "scratch_learning_rate"])
def test_a_loss_that_is_not_finite_keeps_what_was_committed(tmp_path, key):
    path = tmp_path / "run"
    config = recipe(epochs=1, **{key: 1e30})
    if key == "learning_rate":
        learn_digits(path, config, tasks=("zero_one",))
    before = committed(path)
    with pytest.raises(InputError, match="finite.*loss=.*lower learning rate"):
        learn_digits(path, config)
    assert committed(path) == before
    finished = ["zero_one"] if key == "learning_rate" else []
    assert [task.name for task in Run.open(path).tasks] == finished
    assert holds(path) == finished
    assert list((path / TRAINING).iterdir()) == []


def test_weights_that_are_not_finite_are_no_task(tmp_path, monkeypatch):
    """The loss of a single step is that before the step."""
    config = recipe(
        "scratch", epochs=1, scratch_learning_rate=1e38, batch_size=65536
    )
    with pytest.raises(InputError, match=r"finite weights.*loss=0\.[0-9]"):
        learn_digits(tmp_path / "run", config, "scratch")
    assert Run.open(tmp_path / "run").records == []


PHASES = {
    "all": [
        ("scratch", 1),
        ("from_zero_one", 1),
        ("from_two_three", 1),
    ],
    "previous": [("from_two_three", 1)],
}


@pytest.mark.parametrize("sources", ["all", "best", "previous"])
def test_finetuning_resumes_between_its_phases(tmp_path, sources):
    config = recipe("finetune", epochs=1, sources=sources)
    tasks = (*NAMES, "four_five")
    phases = PHASES.get(sources, PHASES["all"])
    reference = tmp_path / "reference"
    learn_digits(reference, config, "finetune", tasks[:2])
    path = copy_run(reference, tmp_path / "run")
    observer = Observer()
    learn_digits(reference, config, "finetune", tasks, observe=observer)
    assert observer.epochs == phases
    for phase in phases:
        observer = Observer(phase)
        with pytest.raises(Killed):
            learn_digits(path, config, "finetune", tasks, observe=observer)
        assert observer.epochs == [phase]
    learn_digits(path, config, "finetune", tasks)
    assert committed(path) == committed(reference)
    record = Run.open(path).record("four_five")
    assert [(p["name"], p["epochs"]) for p in record["phases"]] == phases
    assert holds(path) == list(tasks)


class TestPretrained:
    @pytest.fixture(scope="class")
    def source(self, tmp_path_factory):
        path = tmp_path_factory.mktemp("source") / "scratch"
        config = recipe("scratch", epochs=1)
        learn_digits(path, config, "scratch", ("eight_nine",))
        return path

    def test_a_run_stands_on_the_first_task_of_another(self, source, tmp_path):
        config = {**recipe(epochs=1), "pretrained": str(source)}
        path = tmp_path / "run"
        observer = Observer()
        learn_digits(path, config, tasks=("two_three",), observe=observer)
        assert observer.epochs == [("train", 1)]
        run, other = Run.open(path), Run.open(source)
        assert [task.name for task in run.tasks] == ["eight_nine", "two_three"]
        assert holds(path) == ["eight_nine", "two_three"]
        adopted = run.record("eight_nine")
        assert adopted["phases"] == []
        assert adopted["pretrained_from"] == other.settings["id"]
        assert run.record("two_three")["uses"] == ["eight_nine", "two_three"]
        np.testing.assert_array_equal(
            run.probe("eight_nine").logits, other.probe("eight_nine").logits
        )
        shutil.copytree(path, tmp_path / "again")
        learn_digits(tmp_path / "again", config, tasks=("two_three",))
        assert committed(tmp_path / "again") == committed(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"image_size": 32}, "image_size=32.*image_size=16"),
            ({"backbone": "resnet18"}, "backbone=resnet18.*backbone=conv4"),
            ({"mean": [0.5, 0.5, 0.5]}, "mean=.*0.5"),
        ],
    )
    def test_another_network_is_refused(
        self, source, tmp_path, changes, message
    ):
        config = {**recipe(), **changes, "pretrained": str(source)}
        with pytest.raises(
            InputError, match=f"pretrained weights for {message}"
        ):
            learn_digits(tmp_path / "run", config)
        assert Run.open(tmp_path / "run").records == []

    def test_a_source_without_a_task_or_run_is_refused(self, tmp_path):
        for source in (tmp_path / "missing", tmp_path / "run"):
            config = {**recipe(), "pretrained": str(source)}
            path = tmp_path / "run" if source.name == "run" else tmp_path / "a"
            with pytest.raises(InputError, match=str(source)):
                learn_digits(path, config)
            assert Run.open(path).records == []


def test_a_benchmark_that_is_learned_costs_no_training(learned, tmp_path):
    path = copy_run(learned, tmp_path / "run")
    before = states(path)
    observer = Observer()
    run = (
        learn(Run.open(path), digits5(recipe()), observe=None)
        if False
        else (learn_digits(path, recipe(), observe=observer))
    )
    assert observer.epochs == []
    assert len(run.records) == 2
    assert states(path) == before
