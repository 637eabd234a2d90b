"""What a task stores of its images."""

import dataclasses
import math

import numpy as np
import pytest

from cckeras.benchmarks.digits5 import digits5
from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.runs import statistics
from cckeras.runs.gate import Discriminants, make_gate
from cckeras.runs.records import STATISTICS
from cckeras.runs.run import Run
from cckeras.runs.seeing import see_split, seeing_model
from cckeras.runs.statistics import (
    TEMPERATURES,
    Statistics,
    gate_of,
    measure,
    run_statistics,
    stored_numbers,
    stored_statistics,
)
from tests.command import copy_run
from tests.runs.seen import small_network, split, task

pytest_plugins = ("tests.small_run",)


@pytest.fixture
def network():
    return small_network()


def test_tasks_and_classes_are_told_apart(rng, network):
    seeing = seeing_model(network)
    found = []
    for number in range(3):
        found.append(measure(seeing, network, task(rng, number), found))
    made = gate_of(found)
    for number in range(3):
        test = task(rng, number).test
        scores = made.scores(see_split(seeing, test))
        assert (scores.argmax(1) == 2 * number + test.labels).all()


def test_black_images_do_no_harm(rng, network):
    seeing = seeing_model(network)
    black = np.zeros((30, 8, 8, 3), np.uint8)
    first = measure(
        seeing, network, TaskData(("a", "b"), *[split(black)] * 3), []
    )
    other = task(rng, 1)
    made = gate_of([first, measure(seeing, network, other, [first])])
    scores = made.scores(see_split(seeing, other.test))
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) >= 2).all()


def test_temperatures_are_fitted_to_validation_images(rng, network):
    seeing = seeing_model(network)
    data = task(rng, 0)
    found = measure(seeing, network, data, [])
    logits = np.asarray(network(data.validation.read_spread()))
    losses = {}
    for temperature in TEMPERATURES:
        rows = np.exp(logits.astype(float) / temperature)
        shares = rows / rows.sum(1, keepdims=True)
        losses[temperature] = -sum(
            math.log(row[label])
            for row, label in zip(shares, data.validation.labels, strict=True)
        )
    assert found.temperature == min(losses, key=losses.get)
    unsure = dataclasses.replace(
        data,
        validation=dataclasses.replace(
            data.validation, labels=1 - data.validation.labels
        ),
    )
    wrong = measure(seeing, network, unsure, [])
    assert wrong.gate_temperature > found.gate_temperature


def test_a_rare_class_is_looked_at(rng, monkeypatch):
    """Images are spread over the split, and a class of one may lie between."""
    monkeypatch.setattr(statistics, "IMAGES", 20)
    network = small_network(3)
    seeing = seeing_model(network)
    data = task(rng, 0, 200)
    labels = data.train.labels.copy()
    labels[101] = 2
    rare = dataclasses.replace(
        data,
        classes=("a", "b", "c"),
        train=dataclasses.replace(data.train, labels=labels),
    )
    found = measure(seeing, network, rare, [])
    assert found.discriminants.counts[2] == 1
    assert found.discriminants.counts.sum() == 21


def test_classes_of_held_images_alone_are_not_fitted_to(rng):
    """Else their scores, as low as can be, would decide on the temperature."""
    network = small_network(3)
    seeing = seeing_model(network)
    data = task(rng, 0, 40)
    labels = data.train.labels.copy()
    labels[5] = 2  # Every fifth image is held.
    none = split(np.zeros((0, 8, 8, 3), np.uint8))
    data = dataclasses.replace(data, classes=("a", "b", "c"), validation=none)
    rare = dataclasses.replace(
        data, train=dataclasses.replace(data.train, labels=labels)
    )
    usual = measure(seeing, network, data, [])
    found = measure(seeing, network, rare, [])
    assert found.gate_temperature == usual.gate_temperature


def test_what_is_measured_late_is_centred_as_what_is_stored(
    digits_run, monkeypatch
):
    """The first tasks of an old run lack statistics, its newest has them."""
    opened = Run.open(digits_run.path)
    data = digits5(opened.config)
    method = opened.load()
    model = method.task_model("two_three")
    seeing = seeing_model(method.task_model("zero_one"))
    last = {"two_three": measure(seeing, model, data.load("two_three"), [])}
    monkeypatch.setattr(statistics, "stored_statistics", lambda run: last)
    found = run_statistics(opened, method, data.load)
    assert list(found) == ["zero_one", "two_three"]
    made = gate_of(list(found.values()))
    for start, name in ((0, "zero_one"), (2, "two_three")):
        test = data.load(name).test
        scores = made.scores(see_split(seeing, test))
        assert (scores.argmax(1) == start + test.labels).mean() > 0.9


def test_a_gate_wants_numbers_centred_alike(rng):
    seen, labels = rng.normal(size=(20, 5)), np.arange(20) % 2
    one = Discriminants.fit(seen, labels, 2)
    other = Discriminants.fit(seen + 1, labels, 2)
    with pytest.raises(ValueError, match="centre"):
        make_gate([one, other], 0.1)
    make_gate([one, Discriminants.fit(seen + 1, labels, 2, one)], 0.1)


def test_labels_at_random_are_not_trusted(rng, network):
    """What tells such classes apart is chance, and held images show it."""
    seeing = seeing_model(network)
    data = task(rng, 0, 200)
    train = dataclasses.replace(
        data.train, labels=rng.permutation(data.train.labels)
    )
    none = split(np.zeros((0, 8, 8, 3), np.uint8))
    random = dataclasses.replace(data, train=train, validation=none)
    found = measure(seeing, network, random, [])
    many = measure(seeing, network, task(rng, 0, 400), [])
    assert found.gate_temperature > many.gate_temperature


def test_statistics_survive_their_file(rng):
    seen, labels = rng.normal(size=(20, 5)), np.arange(20) % 3
    found = Statistics(
        Discriminants.fit(seen, labels, 3),
        *(np.array(x, np.float32) for x in (0.01, 2, 0.5)),
    )
    again = Statistics.unpack(found.pack())
    parts = (*found.discriminants, *found[1:])
    others = (*again.discriminants, *again[1:])
    for part, other in zip(parts, others, strict=True):
        assert part.tobytes() == other.tobytes()
    wrong = found.discriminants._replace(means=found.discriminants.means[1:])
    with pytest.raises(ValueError, match="shapes"):
        Statistics.unpack(found._replace(discriminants=wrong).pack())


def test_a_run_stores_them(digits_run):
    opened = Run.open(digits_run.path)
    found = stored_statistics(opened)
    assert list(found) == ["zero_one", "two_three"]
    method = opened.load()
    seeing = seeing_model(method.task_model("zero_one"))
    data = digits5(opened.config)
    first, second = found.values()
    model = method.task_model("two_three")
    again = measure(seeing, model, data.load("two_three"), [first])
    np.testing.assert_allclose(
        again.discriminants.means,
        second.discriminants.means,
        rtol=1e-3,
        atol=1e-4,
    )
    assert again.gate_temperature == second.gate_temperature
    assert again.temperature == second.temperature
    numbers = sum(part.size for part in second.discriminants) + 3
    assert numbers == stored_numbers(method.task_model("zero_one"), 2)


def test_a_damaged_file_is_named(digits_run, tmp_path):
    path = copy_run(digits_run.path, tmp_path / "run")
    wrong = path / "tasks" / "02-two_three" / STATISTICS
    wrong.write_bytes(wrong.read_bytes()[:-9])
    with pytest.raises(InputError, match=STATISTICS):
        stored_statistics(Run.open(path))


def test_what_an_old_run_lacks_is_measured(digits_run, monkeypatch):
    opened = Run.open(digits_run.path)
    stored = stored_statistics(opened)
    data = digits5(opened.config)
    method = opened.load()
    first = {"zero_one": stored["zero_one"]}
    monkeypatch.setattr(statistics, "stored_statistics", lambda run: first)
    found = run_statistics(opened, method, data.load)
    np.testing.assert_allclose(
        found["two_three"].discriminants.means,
        stored["two_three"].discriminants.means,
        rtol=1e-3,
        atol=1e-4,
    )
    empty = split(np.zeros((0, 8, 8, 3), np.uint8))

    def without(name):
        return dataclasses.replace(data.load(name), train=empty)

    assert run_statistics(opened, method, without) == first
    assert run_statistics(opened, method, lambda name: None) == first
