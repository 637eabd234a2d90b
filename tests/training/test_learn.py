"""The training loop: what is resumed, refused and kept."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from cckeras.benchmarks.base import select_tasks
from cckeras.benchmarks.digits5 import digits5
from cckeras.data.sources import TaskData
from cckeras.errors import CheckError, InputError
from cckeras.methods.base import Method
from cckeras.runs.environment import environment
from cckeras.runs.records import LAST, TASKS, TRAINING
from cckeras.runs.run import Run
from cckeras.runs.verify import verify_run
from cckeras.training.learn import learn, open_or_create
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


def test_a_finished_run_is_left_as_it_is(learned, tmp_path):
    path = copy_run(learned, tmp_path / "run")
    before = states(path)
    observer = Observer()
    assert len(learn_digits(path, recipe(), observe=observer).records) == 2
    assert observer.epochs == []
    assert states(path) == before


# From here on with few images and without compiling, which takes longer than
# the training; the same bits are the same there, too.


def learn_few(path, config, method="condconv", tasks=NAMES, observe=None):
    """Learn tasks of 48 images each."""
    real = keras.Model.compile

    def compile_eagerly(model, *args, **kwargs):
        real(model, *args, **{**kwargs, "run_eagerly": True})

    every = digits5(config)

    def load(name):
        data = every.load(name)
        few = {
            split: getattr(data, split).subset(np.arange(0, 3 * count, 3))
            for split, count in (("train", 32), ("validation", 8), ("test", 8))
        }
        return replace(data, **few)

    few = select_tasks(replace(every, load=load), ",".join(tasks))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(keras.Model, "compile", compile_eagerly)
        run = open_or_create(path, method, "digits5", config)
        return learn(run, few, observe=observe)


def few_recipe(method="condconv", **changes):
    return recipe(method, **{"batch_size": 16, **changes})


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A run of two tasks that all tests share."""
    path = tmp_path_factory.mktemp("few") / "run"
    learn_few(path, few_recipe())
    return path


@pytest.fixture
def begun(few, tmp_path):
    """The run when it had learned the first of the two tasks."""
    path = copy_run(few, tmp_path / "begun")
    rewind(path, 1)
    return path


def test_a_damaged_checkpoint_gives_way_to_the_one_before(few, begun):
    with pytest.raises(Killed):
        learn_few(begun, few_recipe(), observe=Observer(("train", 2)))
    newest = begun / TRAINING / "0000-00002" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    observer = Observer()
    learn_few(begun, few_recipe(), observe=observer)
    assert observer.epochs == [("train", 2)]
    assert committed(begun) == committed(few)


def test_another_task_may_be_learned_in_place_of_one_that_was_begun(few, begun):
    """Checkpoints of the one that was begun are in nobody's way."""
    with pytest.raises(Killed):
        learn_few(
            begun,
            few_recipe(),
            tasks=("zero_one", "four_five"),
            observe=Observer(("train", 2)),
        )
    for epoch in (1, 2):
        observer = Observer(("train", epoch))
        with pytest.raises(Killed):
            learn_few(begun, few_recipe(), observe=observer)
        assert observer.epochs == [("train", epoch)]
    learn_few(begun, few_recipe())
    assert committed(begun) == committed(few)


def test_a_task_that_was_begun_needs_the_same_data(begun, few, monkeypatch):
    with pytest.raises(Killed):
        learn_few(begun, few_recipe(), observe=Observer(("train", 1)))
    before = states(begun)
    with monkeypatch.context() as patch:
        patch.setattr(TaskData, "fingerprint", lambda self: "0" * 64)
        with pytest.raises(InputError, match="training of task 'two_three'"):
            learn_few(begun, few_recipe())
    assert states(begun) == before
    learn_few(begun, few_recipe())
    assert committed(begun) == committed(few)


def test_adding_a_task_to_a_finished_run_leaves_its_files_alone(few, tmp_path):
    path = copy_run(few, tmp_path / "run")
    before = states(path / TASKS)
    learn_few(path, few_recipe(), tasks=(*NAMES, "four_five"))
    after = states(path / TASKS)
    assert {name: after[name] for name in before} == before
    assert holds(path) == [*NAMES, "four_five"]
    modes = {file.stat().st_mode & 0o222 for file in (path / TASKS).rglob("*")}
    assert modes == {0}


def test_a_copy_that_lost_its_empty_folder_goes_on(few, begun):
    (begun / TRAINING).rmdir()
    learn_few(begun, few_recipe())
    assert committed(begun) == committed(few)


def test_an_old_variable_that_trains_is_caught_before_the_commit(
    few, begun, monkeypatch
):
    real = Method.grow

    def grow(self, task, structure=None):
        real(self, task, structure)
        if task.name == "two_three" and structure is None:
            self.variables["zero_one/conv1/expert"].trainable = True

    before = states(begun / TASKS)
    monkeypatch.setattr(Method, "grow", grow)
    message = r"two_three.*'zero_one' owns is no longer.*Nothing was committed"
    with pytest.raises(CheckError, match=message):
        learn_few(begun, few_recipe())
    assert states(begun / TASKS) == before
    assert holds(begun) == ["zero_one"]
    # What was learned beside the changed variable is not gone on with.
    assert list((begun / TRAINING).iterdir()) == []
    monkeypatch.undo()
    learn_few(begun, few_recipe())
    assert committed(begun) == committed(few)


def test_changed_logits_are_caught_where_no_variable_has_changed(
    begun, monkeypatch
):
    """As a shared layer would cause them that changes by growing."""
    real = Method.task_model

    def task_model(self, name):
        model = real(self, name)
        if name == "zero_one" and "two_three" in self.tasks:
            return keras.Model(model.input, model.output * (1 + 1e-6))
        return model

    before = states(begun / TASKS)
    monkeypatch.setattr(Method, "task_model", task_model)
    message = "the logits of task 'zero_one' are NOT equal"
    with pytest.raises(CheckError, match=message):
        learn_few(begun, few_recipe())
    assert states(begun / TASKS) == before


@pytest.mark.parametrize("key", ["learning_rate", "scratch_learning_rate"])
def test_a_loss_that_is_not_finite_keeps_what_was_committed(tmp_path, key):
    path = tmp_path / "run"
    config = few_recipe(epochs=1, **{key: 1e30})
    finished = ["zero_one"] if key == "learning_rate" else []
    if finished:
        learn_few(path, config, tasks=finished)
    before = committed(path)
    message = "finite loss.*loss=(nan|inf|[0-9.e+]*).*lower learning rate"
    with pytest.raises(InputError, match=message):
        learn_few(path, config)
    assert committed(path) == before
    assert [task.name for task in Run.open(path).tasks] == finished
    assert holds(path) == finished
    assert list((path / TRAINING).iterdir()) == []


def test_weights_that_are_not_finite_are_no_task(tmp_path):
    """The last step of an epoch may make them so: the loss does not show."""

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                bias = self.model.get_layer("head").bias
                bias.assign(bias * np.inf)

    config = few_recipe("scratch", epochs=1)
    with pytest.raises(InputError, match=r"finite weights.*loss=[01]\.[0-9]"):
        learn_few(
            tmp_path / "run", config, "scratch", observe=lambda *_: [Break()]
        )
    assert Run.open(tmp_path / "run").records == []


ALTERNATIVES = [("scratch", 1), ("from_zero_one", 1), ("from_two_three", 1)]


@pytest.mark.parametrize(
    ("sources", "phases"),
    [
        ("all", ALTERNATIVES),
        # As "all", but for the results that are recorded.
        pytest.param("best", ALTERNATIVES, marks=pytest.mark.slow),
        ("previous", [("from_two_three", 1)]),
    ],
)
def test_finetuning_resumes_between_its_phases(tmp_path, sources, phases):
    config = few_recipe("finetune", epochs=1, sources=sources)
    tasks = (*NAMES, "four_five")
    reference = tmp_path / "reference"
    learn_few(reference, config, "finetune", tasks[:2])
    path = copy_run(reference, tmp_path / "run")
    observer = Observer()
    learn_few(reference, config, "finetune", tasks, observer)
    assert observer.epochs == phases
    for phase in phases:
        observer = Observer(phase)
        with pytest.raises(Killed):
            learn_few(path, config, "finetune", tasks, observer)
        assert observer.epochs == [phase]
    learn_few(path, config, "finetune", tasks)
    assert committed(path) == committed(reference)
    record = Run.open(path).record("four_five")
    assert [(p["name"], p["epochs"]) for p in record["phases"]] == phases
    assert holds(path) == list(tasks)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A scratch run of one task, from which others may start."""
    path = tmp_path_factory.mktemp("source") / "scratch"
    learn_few(path, few_recipe("scratch"), "scratch", ("eight_nine",))
    return path


@pytest.mark.parametrize("method", ["condconv", "scratch", "finetune"])
def test_a_run_stands_on_the_first_task_of_another(source, tmp_path, method):
    config = {**few_recipe(method, epochs=1), "pretrained": str(source)}
    path = tmp_path / "run"
    learn_few(path, config, method, ("two_three",))
    run, other = Run.open(path), Run.open(source)
    assert [task.name for task in run.tasks] == ["eight_nine", "two_three"]
    assert holds(path) == ["eight_nine", "two_three"]
    adopted = run.record("eight_nine")
    assert adopted["phases"] == []
    assert adopted["pretrained_from"] == other.settings["id"]
    assert adopted["metrics"] == other.record("eight_nine")["metrics"]
    np.testing.assert_array_equal(
        run.probe("eight_nine").logits, other.probe("eight_nine").logits
    )
    used = {"condconv": ["eight_nine", "two_three"]}.get(method, ["two_three"])
    assert run.record("two_three")["uses"] == used


def test_a_pretrained_start_that_was_interrupted_is_repeated(source, tmp_path):
    config = {**few_recipe(), "pretrained": str(source)}
    path, again = tmp_path / "run", tmp_path / "again"
    learn_few(path, config, tasks=("two_three",))
    with pytest.raises(Killed):
        learn_few(
            again,
            config,
            tasks=("two_three",),
            observe=Observer(("train", 1)),
        )
    (again / LAST).unlink()  # As if it had ended within the first commit.
    (again / TASKS / "01-eight_nine").chmod(0o755)
    learn_few(again, config, tasks=("two_three",))
    assert committed(again) == committed(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 32}, "image_size=32.*image_size=16"),
        ({"backbone": "resnet18"}, "backbone=resnet18.*backbone=conv4"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean=.*0.5"),
    ],
    ids=str,
)
def test_a_pretrained_network_of_another_kind_is_refused(
    source, tmp_path, changes, message
):
    config = {**few_recipe(), **changes, "pretrained": str(source)}
    with pytest.raises(InputError, match=f"pretrained weights for {message}"):
        learn_few(tmp_path / "run", config)
    assert Run.open(tmp_path / "run").records == []


def test_a_pretrained_run_without_a_task_is_refused(tmp_path):
    for source in (tmp_path / "missing", tmp_path / "run"):
        config = {**few_recipe(), "pretrained": str(source)}
        path = tmp_path / ("run" if source.name == "run" else "other")
        with pytest.raises(InputError, match=str(source)):
            learn_few(path, config)
        assert Run.open(path).records == []
