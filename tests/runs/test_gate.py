"""What tells tasks apart: statistics, and the gate made of them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.benchmarks.digits5 import digits5
from cckeras.data.sources import ArrayImages, Split, TaskData
from cckeras.errors import InputError
from cckeras.runs import gate
from cckeras.runs.gate import (
    RANK,
    SHRINKAGE,
    Statistics,
    log_softmax,
    make_gate,
    measure,
    run_statistics,
    see,
    seeing_model,
    stored_numbers,
    stored_statistics,
    watched,
)
from cckeras.runs.records import STATISTICS
from cckeras.runs.run import Run
from tests.command import copy_run

pytest_plugins = ("tests.small_run",)


@pytest.fixture
def network():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="one")(x)
    x = keras.layers.Conv2D(6, 3, name="two")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, name="head")(x))


def split(images):
    return Split(ArrayImages(images), np.zeros(len(images), int))


def task(rng, number, count=60):
    """Images of a colour of their own, with noise."""
    colour = np.eye(3)[number] * 100
    parts = [
        split((rng.uniform(0, 100, (n, 8, 8, 3)) + colour).astype(np.uint8))
        for n in (count, 20, 20)
    ]
    return TaskData(("a", "b"), *parts)


def statistics_of(rng, size=7, rank=3, temperature=1.0):
    return Statistics(
        rng.normal(size=size).astype(np.float32),
        rng.normal(size=(rank, size)).astype(np.float32),
        rng.uniform(0.1, 1, size).astype(np.float32),
        np.array(temperature, np.float32),
    )


def test_mean_and_deviation_of_every_channel_are_seen(rng, network):
    images = rng.uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    seen = see(seeing_model(network), images)
    inner = ops.convert_to_numpy(
        keras.Model(network.input, network.get_layer("one").output)(images)
    )
    expected = [
        numbers
        for x in (images / 255, inner)
        for numbers in (x.mean((1, 2)), x.std((1, 2)))
    ]
    assert seen.shape == (3, 2 * (3 + 5))
    np.testing.assert_allclose(seen, np.concatenate(expected, 1), atol=1e-4)


def test_a_gate_is_a_linear_discriminant_analysis(rng):
    tasks = [statistics_of(rng) for _ in range(3)]
    made = make_gate([*tasks[:2], tasks[2]._replace(temperature=np.array(2.0))])
    seen = rng.normal(size=(10, 7))
    covariance = sum(
        own.factor.T @ own.factor + np.diag(own.rest) for own in tasks
    ) / len(tasks)
    variance = np.diag(covariance)
    inverse = np.linalg.inv(covariance + SHRINKAGE * np.diag(variance))
    distances = [
        [(x - own.mean) @ inverse @ (x - own.mean) for own in tasks]
        for x in seen
    ]
    expected = -0.5 * np.array(distances) / 2
    scores = made.scores(seen)
    # What is common to all tasks does not matter.
    np.testing.assert_allclose(
        scores - scores.mean(1, keepdims=True),
        expected - expected.mean(1, keepdims=True),
        atol=1e-4,
    )


def test_statistics_describe_what_was_seen(rng, network):
    seeing = seeing_model(network)
    data = task(rng, 0)
    found = measure(seeing, data, [])
    seen = see(seeing, data.train.read_spread()).astype(np.float64)
    np.testing.assert_allclose(found.mean, seen.mean(0), rtol=1e-4)
    # Fewer numbers than directions: all of the covariance is kept.
    assert seen.shape[1] < RANK
    covariance = found.factor.T @ found.factor + np.diag(found.rest)
    np.testing.assert_allclose(
        covariance, np.cov(seen.T, bias=True), atol=1e-3 * seen.var(0).max()
    )


def test_tasks_are_told_apart(rng, network):
    seeing = seeing_model(network)
    found = []
    for number in range(3):
        found.append(measure(seeing, task(rng, number), found))
    made = make_gate(found)
    for number in range(3):
        images = task(rng, number).test.read_spread()
        scores = made.scores(see(seeing, images))
        assert (scores.argmax(1) == number).all()


def test_a_channel_that_is_always_equal_does_no_harm(rng, network):
    seeing = seeing_model(network)
    black = np.zeros((30, 8, 8, 3), np.uint8)
    dark = TaskData(("a", "b"), *[split(black)] * 3)
    first = measure(seeing, dark, [])
    found = [first, measure(seeing, task(rng, 1), [first])]
    scores = make_gate(found).scores(
        see(seeing, task(rng, 1).test.read_spread())
    )
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) == 1).all()


def test_logarithms_of_softmax(rng):
    scores = rng.normal(0, 5, (20, 6))
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(log_softmax(scores), np.log(shares))
    assert log_softmax(np.array([[3e4, -3e4]])).tolist() == [[0.0, -6e4]]


def test_a_convolution_that_narrows_is_not_watched(network):
    image, inner = network.input, network.get_layer("one").output
    narrow = keras.layers.Conv2D(2, 1, name="narrow")(inner)
    wider = keras.Model(image, [network.output, narrow])
    assert watched(wider) == watched(network)
    assert stored_numbers(network) == (RANK + 2) * 2 * (3 + 5)


def test_statistics_survive_their_file(rng):
    found = statistics_of(rng)
    again = Statistics.unpack(found.pack())
    for part, other in zip(found, again, strict=True):
        assert part.tobytes() == other.tobytes()
    wrong = found._replace(rest=found.rest[1:]).pack()
    with pytest.raises(ValueError, match="shapes"):
        Statistics.unpack(wrong)


def test_a_run_stores_them(digits_run):
    opened = Run.open(digits_run.path)
    found = stored_statistics(opened)
    assert list(found) == ["zero_one", "two_three"]
    seeing = seeing_model(opened.load().task_model("zero_one"))
    data = digits5(opened.config)
    first, second = found.values()
    again = measure(seeing, data.load("two_three"), [first])
    np.testing.assert_allclose(again.mean, second.mean, rtol=1e-4, atol=1e-5)
    assert second.mean.nbytes * (RANK + 2) == 4 * stored_numbers(
        opened.load().task_model("zero_one")
    )


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
    seeing = seeing_model(opened.load().task_model("zero_one"))
    first = {"zero_one": stored["zero_one"]}
    monkeypatch.setattr(gate, "stored_statistics", lambda run: first)
    found = run_statistics(opened, seeing, data.load)
    np.testing.assert_allclose(
        found["two_three"].mean, stored["two_three"].mean, rtol=1e-4, atol=1e-5
    )
    empty = split(np.zeros((0, 8, 8, 3), np.uint8))

    def without(name):
        return dataclasses.replace(data.load(name), train=empty)

    assert run_statistics(opened, seeing, without) == first
    assert run_statistics(opened, seeing, lambda name: None) == first
