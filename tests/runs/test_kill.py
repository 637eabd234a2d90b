"""Killed at any moment, a run that is started again ends with the same bits."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cckeras.runs.records import (
    LAST,
    PROBE,
    STATISTICS,
    TASK,
    WEIGHTS,
    RunRecords,
)
from tests.backend import tensorflow_only
from tests.runs.fork_server import ENVIRONMENT, ROOT, ForkServer
from tests.runs.small import contents

pytestmark = tensorflow_only

OPTIONS = (
    "--threads=1",
    "--tasks=zero_one,two_three",
    "--config.epochs=3",
    "--config.decay_epochs=(2,)",
)
METHODS = ("condconv", "finetune")


@pytest.fixture(scope="module")
def server():
    with ForkServer() as server:
        yield server


def arguments(path, method="condconv"):
    return [f"--run_dir={path}", f"--method={method}", *OPTIONS]


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """Return a function from a method to its run and how long that took."""
    runs = {}

    def run(method):
        if method not in runs:
            path = tmp_path_factory.mktemp("undisturbed") / method
            log = path.with_suffix(".log")
            command = server.start(log, arguments(path, method))
            assert command.wait() == 0, log.read_text()
            runs[method] = path, command.seconds
        return runs[method]

    return run


# Kinds of moments: any time; a file operation in writing a checkpoint; one in
# creating the run or committing a task.
KINDS = ("any time", "checkpoint", "commit")


class Moment:
    """When to kill.

    Args:
        rng: decides.
        kind: one of `KINDS`.
        duration: seconds that an undisturbed run takes.
    """

    def __init__(self, rng, kind, duration):
        self.kind = kind
        self.delay = rng.uniform(0, duration)
        self.operation = int(rng.integers(1, 20))
        self.how = str(rng.choice(["before", "within", "after"]))

    def start(self, server, log, arguments):
        """Start the command and kill it; return it, and whether it was met."""
        if self.kind == "any time":
            command = server.start(log, arguments)
            met = command.kill_after(self.delay)
        else:
            folder = "training" if self.kind == "checkpoint" else "elsewhere"
            fatal = [self.operation, folder, self.how]
            command = server.start(log, arguments, fatal)
            met = command.wait() == -signal.SIGKILL
        # Else less was left to be done than was expected.
        self.delay /= 2
        self.operation = max(1, self.operation // 2)
        return command, met


def committed(path: Path) -> dict[str, bytes]:
    """Return the files that a run says are committed."""
    if not (path / "run.json").exists():
        return {}
    run = RunRecords.open(path)
    return {
        f"tasks/{task.folder}/{name}": content
        for task in run.tasks
        for name, content in contents(run.folder(task.name)).items()
    }


def all_names(path: Path) -> list[str]:
    return sorted(str(entry.relative_to(path)) for entry in path.rglob("*"))


def kill_until(server, undisturbed, method, folder, moments) -> list[str]:
    """Kill a command at moments, start it again, until the moments are used up
    and the run is complete; return the kinds of the moments that it met.

    Runs that are complete too early are followed by further ones.
    """
    reference, _ = undisturbed(method)
    expected = committed(reference)
    met, runs = [], 0
    while moments:
        path, log = folder / str(runs), folder / f"{runs}.log"
        runs += 1
        complete = False
        while not complete:
            if moments:
                command, killed = moments[0].start(
                    server, log, arguments(path, method)
                )
                if killed:
                    met.append(moments.pop(0).kind)
            else:
                command = server.start(log, arguments(path, method))
            complete = command.wait() == 0
            assert complete or command.wait() == -signal.SIGKILL, (
                log.read_text()
            )
            found = committed(path)
            assert {name: expected[name] for name in found} == found
        # Every file that holds what was learned, and nothing else is left.
        assert found == expected
        assert all_names(path) == all_names(reference)
        assert (path / LAST).read_bytes() == (reference / LAST).read_bytes()
        assert "Traceback" not in log.read_text()
    return met


def moments(seed, duration, count):
    """Return moments of all kinds: every other one is at any time."""
    rng = np.random.default_rng(seed)
    kinds = [KINDS[0], KINDS[1], KINDS[0], KINDS[2]]
    return [Moment(rng, kinds[i % 4], duration) for i in range(count)]


def test_the_reference_is_what_it_should_be(undisturbed):
    path, _ = undisturbed("condconv")
    names = {Path(name).name for name in committed(path)}
    assert names == {TASK, WEIGHTS, PROBE, STATISTICS}
    assert [task.name for task in RunRecords.open(path).tasks] == [
        "zero_one",
        "two_three",
    ]
    assert list((path / "training").iterdir()) == []


def test_five_kills_change_nothing(server, undisturbed, tmp_path):
    _, duration = undisturbed("condconv")
    met = kill_until(
        server, undisturbed, "condconv", tmp_path, moments(1, duration, 5)
    )
    assert len(met) == 5


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_fifty_kills_change_nothing(server, undisturbed, tmp_path, method):
    """Fifty in all."""
    _, duration = undisturbed(method)
    count = 50 // len(METHODS)
    chosen = moments(METHODS.index(method) + 2, duration, count)
    met = kill_until(server, undisturbed, method, tmp_path, chosen)
    assert len(met) == count
    assert set(met) == set(KINDS)


def test_an_interrupted_command_says_so_and_goes_on(
    server, undisturbed, tmp_path
):
    """As a user sees it: the command itself, and Ctrl-C in training."""
    reference, _ = undisturbed("condconv")
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "cckeras.train", *arguments(path)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not (path / "training" / "0000-00001").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130
    lines = [
        line
        for line in said.splitlines()
        if not re.match(r"task 1 .*: epoch|.* \.\.\.$", line)
    ]
    assert len(lines) == 1
    assert lines[0].startswith("error: interrupted")
    assert "Traceback" not in printed
    assert not (path / "LOCK").exists()
    log = tmp_path / "log"
    assert server.start(log, arguments(path)).wait() == 0, log.read_text()
    assert committed(path) == committed(reference)
    assert all_names(path) == all_names(reference)
