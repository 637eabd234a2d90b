"""`settle_epochs`: image routing replaced by its mean before the commit."""

import dataclasses

import numpy as np
import pytest

from cckeras.benchmarks.digits5 import digits5
from cckeras.methods.condconv import CondConv
from cckeras.runs.environment import environment
from cckeras.runs.records import TRAINING
from cckeras.runs.run import Run
from cckeras.runs.verify import verify_run
from cckeras.training import learn as loop
from tests.backend import array
from tests.runs.small import Killed, copy_run, learn_digits, recipe, rewind
from tests.training.test_learn import Observer, committed

SETTLE = {"settle_epochs": 3}
LAYERS = ("conv1", "conv2", "conv3", "conv4")


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A run whose second task settled: validation is 100 % either way."""
    path = tmp_path_factory.mktemp("settled") / "run"
    learn_digits(path, recipe(**SETTLE))
    return path


def routers(method, task="two_three"):
    return {
        part: [array(method.variables[f"{task}/{x}/router_{part}"]) for x in LAYERS]
        for part in ("kernel", "bias")
    }  # fmt: skip


def test_the_first_task_has_nothing_to_settle(settled):
    first, second = Run.open(settled).records
    assert [phase["name"] for phase in first["phases"]] == ["train"]
    assert [phase["name"] for phase in second["phases"]] == ["train", "settle"]
    assert second["phases"][1]["epochs"] == 3


def test_a_settled_task_does_not_look_at_the_image(settled, rng):
    run = Run.open(settled)
    method = run.load()
    assert not any(kernel.any() for kernel in routers(method)["kernel"])
    images = rng.integers(0, 256, (4, 16, 16, 3)).astype(np.float32)
    for model in method.routing("two_three").values():
        weights = array(model(images))
        np.testing.assert_array_equal(weights, weights[:1].repeat(4, 0))
    assert all(v.holds for v in verify_run(run, environment(0)))


def test_the_constants_are_the_means_over_training_images(rng):
    config = recipe(**SETTLE)
    method = CondConv(config)
    data = digits5(config).load("two_three")
    for number, name in enumerate(("a", "two_three"), 1):
        method.grow(loop.Task(name, number, tuple(data.classes)))
    task = method.tasks["two_three"]
    images = data.train.images.read(np.arange(len(data.train)))
    images = images.astype(np.float32)
    expected = {
        layer: array(model(images)).mean(0)
        for layer, model in method.routing("two_three").items()
    }
    phases = method.phases(task)
    assert next(phases).name == "train"
    phase = phases.send(None)
    assert not any(
        "router" in variable.path
        for variable in phase.model.trainable_variables
    )
    phase.start(data)
    for layer, model in method.routing("two_three").items():
        np.testing.assert_allclose(
            array(model(images[:2])), [expected[layer]] * 2, rtol=1e-4
        )


def test_what_is_worse_is_not_kept(settled, tmp_path, monkeypatch):
    real = loop.train_phase

    def worse(phase, *args):
        result = real(phase, *args)
        if phase.name == "settle":
            result = dataclasses.replace(result, validation_accuracy=0.0)
        return result

    monkeypatch.setattr(loop, "train_phase", worse)
    path = copy_run(settled, tmp_path / "run")
    rewind(path, 1)
    learn_digits(path, recipe(**SETTLE))
    learn_digits(tmp_path / "plain", recipe())
    one, other = (
        Run.open(folder).load() for folder in (path, tmp_path / "plain")
    )
    task = one.tasks["two_three"]
    assert one.digest(task) == other.digest(task)
    assert any(kernel.any() for kernel in routers(one)["kernel"])


@pytest.mark.parametrize(
    "last",
    [
        ("train", 2),
        pytest.param(("settle", 1), marks=pytest.mark.slow),
        pytest.param(("settle", 3), marks=pytest.mark.slow),
    ],
)
def test_killed_while_settling_it_ends_with_the_same_bits(
    settled, tmp_path, last
):
    path = copy_run(settled, tmp_path / "run")
    rewind(path, 1)
    with pytest.raises(Killed):
        learn_digits(path, recipe(**SETTLE), observe=Observer(last))
    assert list((path / TRAINING).iterdir())
    learn_digits(path, recipe(**SETTLE))
    assert committed(path) == committed(settled)


def test_task_routing_has_nothing_to_settle():
    config = recipe(routing="task", **SETTLE)
    assert CondConv(config).planned_phases(2) == 1


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        # (alternative, optional, validation accuracy[, tolerance]) of each
        ([(0, 0, 50.0), (0, 0, 40.0)], 1),
        ([(0, 0, 50.0), (0, 1, 50.0)], 1),
        ([(0, 0, 50.0), (0, 1, 49.9)], 0),
        ([(0, 0, 50.2), (0, 1, 49.9, 0.3)], 1),
        ([(0, 0, 50.2), (0, 1, 49.8, 0.3)], 0),
        ([(0, 0, 90.0), (1, 0, 40.0), (1, 0, 40.0), (1, 0, 41.0)], 3),
        ([(0, 0, 90.0), (1, 0, 40.0), (1, 0, 40.0)], 1),
        ([(0, 0, None), (0, 1, None)], 1),
    ],
)
def test_which_phase_a_task_keeps(scores, kept):
    keys = "alternative", "optional", "validation_accuracy", "tolerance"
    results = [
        dict(zip(keys, (bool(a), bool(o), *rest), strict=False))
        for a, o, *rest in scores
    ]
    assert loop._kept(results) is results[kept]
