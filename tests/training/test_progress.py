"""What is told of a training, and the time that is left of it."""

from types import SimpleNamespace

import pytest

from cckeras.task import Task
from cckeras.training import progress
from cckeras.training.progress import RunProgress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_time_left_does_not_count_compiling(monkeypatch, capsys):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(progress, "time", clock)
    shown = RunProgress({"fish": 1, "flowers": 2}, epochs=10)
    phase = SimpleNamespace(name="train")
    (callback,) = shown.observe(Task("fish", 1, ("a", "b")), None, phase)
    callback.set_params({"epochs": 10})
    callback.on_epoch_begin(0)
    for step, seconds in enumerate([100, 1, 1]):  # The first one compiles.
        now[0] += seconds
        callback.on_train_batch_end(step)
    callback.on_epoch_end(0, {"accuracy": 0.5})
    assert capsys.readouterr().err == (
        "task 1 fish, train: epoch 1/10, accuracy 50.0 %, "
        "left: phase 18 s, run 58 s\n"
    )
