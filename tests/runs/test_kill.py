"""Killed at any moment, a run that is started again ends with the same bits."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cckeras.runs.records import LAST, TASK, RunRecords
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


class Moment:
    """When to kill: some seconds after something happens in the run folder.

    Args:
        rng: decides, so that all moments of a run are met: any time from the
            start of the process; while a checkpoint is written or old ones
            are deleted; while a task is committed; right after that.
        kind: one of `KINDS`.
        duration: seconds that an undisturbed run takes.
    """

    KINDS = ("any time", "checkpoint", "commit", "after commit")

    def __init__(self, rng, kind, duration):
        self.kind = kind
        self.count = 1
        if kind == "any time":
            self.delay = rng.uniform(0, duration)
        else:
            self.delay = rng.exponential(0.02)
        if kind == "checkpoint":
            self.count = int(rng.integers(1, 4))

    def wait(self, command, path) -> None:
        """Return at the moment, or when the command has ended."""
        before = self._seen(path)
        changes = 0
        while self.kind != "any time" and changes < self.count:
            if command.ended:
                return
            now = self._seen(path)
            changes += now != before
            before = now
            time.sleep(0.001)
        end = time.monotonic() + self.delay
        while time.monotonic() < end and not command.ended:
            time.sleep(min(0.01, max(0, end - time.monotonic())))

    def _seen(self, path):
        """Return what changes when that happens which is waited for."""
        try:
            if self.kind == "after commit":
                return os.stat(path / LAST).st_ino
            folder = "training" if self.kind == "checkpoint" else "tasks"
            entries = set(os.listdir(path / folder))
        except FileNotFoundError:
            return None if self.kind == "after commit" else 0
        return len({name for name in entries if name.startswith(".tmp-")})


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
            command = server.start(log, arguments(path, method))
            if moments:
                moments[0].wait(command, path)
                if command.kill():
                    met.append(moments.pop(0).kind)
                else:  # The machine may have become faster meanwhile.
                    moments[0].delay /= 2
            complete = command.wait() == 0
            assert complete or command.wait() == -9, log.read_text()
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
    others = [kind for kind in Moment.KINDS if kind != "any time"]
    return [
        Moment(
            rng,
            "any time" if index % 2 == 0 else others[index // 2 % 3],
            duration,
        )
        for index in range(count)
    ]


def test_the_reference_is_what_it_should_be(undisturbed):
    path, _ = undisturbed("condconv")
    names = {Path(name).name for name in committed(path)}
    assert names == {TASK, "weights.safetensors", "probe.safetensors"}
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
    assert set(met) == set(Moment.KINDS)


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
        if not re.match("task 1 .*: epoch", line)
    ]
    assert len(lines) == 1
    assert lines[0].startswith("error: interrupted")
    assert "Traceback" not in printed
    assert not (path / "LOCK").exists()
    log = tmp_path / "log"
    assert server.start(log, arguments(path)).wait() == 0, log.read_text()
    assert committed(path) == committed(reference)
    assert all_names(path) == all_names(reference)
