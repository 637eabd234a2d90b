"""Timing a phase: where the seconds of a simulated training are found."""

import types

import numpy as np
import pytest

from cckeras.data.sources import ArrayImages, Split, TaskData
from cckeras.methods.base import Group, Phase
from cckeras.task import Task
from cckeras.training import timing
from cckeras.training.timing import Timing, time_phase

BATCH = 32
# What the simulated machine takes, in binary fractions: sums are exact.
ONCE, TEST_ONCE, STEP, EVALUATION, EPOCH = 8.0, 2.0, 0.5, 0.125, 0.25


def split(count):
    images = np.zeros((count, 2, 2, 3), np.uint8)
    return Split(ArrayImages(images), np.zeros(count, np.int64))


def task_data(train, validation, test):
    return TaskData(("a",), split(train), split(validation), split(test))


class Machine:
    """A clock, and a training that takes known times."""

    def __init__(self):
        self.now = 0.0
        self.trained = []

    def perf_counter(self):
        return self.now

    def train(self, phase, method, task, data, state, checkpoints, callbacks):
        self.trained.append((phase, data))
        (clock,) = callbacks
        clock.set_model(types.SimpleNamespace(stop_training=False))
        self.now += ONCE
        for epoch in range(phase.epochs):
            clock.on_epoch_begin(epoch)
            self.now += EPOCH
            for batch, first in enumerate(range(0, len(data.train), BATCH)):
                images = min(BATCH, len(data.train) - first)
                self.now += STEP * images / BATCH
                clock.on_train_batch_end(batch, {"loss": 1.0})
            if len(data.validation):
                clock.on_test_begin()
                self.now += TEST_ONCE * (epoch == 0)
                self.evaluate(data.validation)
                clock.on_test_end()
            clock.on_epoch_end(epoch)
            if clock.model.stop_training:
                break
        state.tensors = {"values": {"kernel": np.zeros(5, np.float32)}}
        checkpoints.save(state)
        self.evaluate(data.validation)
        self.evaluate(data.test)

    def evaluate(self, part):
        self.now += EVALUATION * -(-len(part) // 100)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(timing, "time", machine)
    monkeypatch.setattr(timing, "train_phase", machine.train)
    return machine


def phase():
    return Phase("train", None, 50, (Group("", "sgd", 1.0),), (10, 20))


def timed(machine, data):
    method = types.SimpleNamespace(
        config={"batch_size": BATCH, "distribute": "none"}
    )
    return time_phase(phase(), method, Task("a", 1, ("a",)), data)


@pytest.mark.parametrize("train", [2000, 2010, 96, 100, 40, 20])
def test_the_parts_of_a_phase_are_told_apart(machine, train):
    found = timed(machine, task_data(train, 250, 320))
    assert found.checkpoint_bytes == 20
    assert found.test_once == pytest.approx(TEST_ONCE)
    assert found.evaluation_step == pytest.approx(EVALUATION)
    assert found.once == pytest.approx(ONCE + TEST_ONCE)
    if train > BATCH * 2:
        assert found.step == pytest.approx(STEP)
        assert found.epoch == pytest.approx(EPOCH)
    # Where no step follows another, it takes the epoch's share, too.
    whole = found.step * train / BATCH + found.epoch
    assert whole == pytest.approx(STEP * train / BATCH + EPOCH)


def test_few_images_are_trained_at_a_rate_of_zero(machine):
    timed(machine, task_data(2010, 250, 320))
    ((short, data),) = machine.trained
    assert [len(data.train), len(data.validation)] == [4 * 32 + 26, 150]
    assert len(data.test) == 120
    assert [group.learning_rate for group in short.groups] == [0.0]
    assert short.decay_epochs == ()


def test_without_validation_images_an_evaluation_follows_from_a_step(machine):
    found = timed(machine, task_data(2000, 0, 0))
    assert found.step == pytest.approx(STEP)
    assert found.evaluation_step == pytest.approx(STEP / 3 * 100 / BATCH)
    assert found.test_once == 0


def test_seconds_of_a_phase():
    parts = Timing(ONCE, TEST_ONCE, STEP, EVALUATION, EPOCH, 0)
    data = task_data(320, 250, 320)
    # Ten steps and three batches of validation an epoch; at the end three of
    # validation and four of test images.
    epoch = EPOCH + 10 * STEP + 3 * EVALUATION
    once = ONCE + 7 * EVALUATION
    assert parts.phase_seconds(data, BATCH, 20) == once + 20 * epoch
    assert parts.first_test_seconds(data) == TEST_ONCE + 4 * EVALUATION
    twice = once + 7 * EVALUATION + 2 * epoch - EPOCH
    assert parts.phase_seconds(data, BATCH, 1, ratio=2) == twice
