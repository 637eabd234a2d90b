"""One writer a run, and a stale lock hinders nobody."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from cckeras.errors import InputError
from cckeras.runs.lock import NAME, RunLock

HOLD = """
import sys
from cckeras.errors import InputError
from cckeras.runs.lock import RunLock
go = sys.stdin.readline()
try:
    with RunLock(sys.argv[1]):
        print("holds", flush=True)
        sys.stdin.readline()
except InputError as error:
    print("refused", error, flush=True)
"""


class Contender:
    """A process that takes a lock when told to, and holds it until told."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self):
        self._send()
        return self

    def answer(self):
        return self.process.stdout.readline().strip()

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self._send()
        assert self.process.wait(20) == 0

    def kill(self):
        self.process.kill()
        self.process.wait(20)

    def _send(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture
def contender(tmp_path):
    """Return a function that starts contenders for the lock of `tmp_path`."""
    made = []

    def make():
        made.append(Contender(tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        one.process.communicate()


def owner(tmp_path):
    return json.loads((tmp_path / NAME).read_text())


def test_the_lock_names_its_owner_and_is_removed(tmp_path):
    with RunLock(tmp_path):
        assert owner(tmp_path) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
    assert os.listdir(tmp_path) == []


def test_the_lock_is_removed_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunLock(tmp_path):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_second_writer_is_told_who_writes_and_changes_nothing(
    tmp_path, contender
):
    first = contender().start()
    assert first.answer() == "holds"
    before = (tmp_path / NAME).read_bytes()
    message = (
        f"Expected {re.escape(str(tmp_path))} to have one writer. Received: it "
        f"is locked by process {first.process.pid} on this host. Wait .*delete"
    )
    with pytest.raises(InputError, match=message), RunLock(tmp_path):
        pytest.fail("two writers")
    assert (tmp_path / NAME).read_bytes() == before
    first.end()
    assert os.listdir(tmp_path) == []
    with RunLock(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()


def test_two_writers_in_one_process_are_refused_as_well(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(InputError, match="one writer"), RunLock(tmp_path):
            pytest.fail("two writers")
        assert owner(tmp_path)["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path, contender):
    killed = contender().start()
    assert killed.answer() == "holds"
    killed.kill()
    assert owner(tmp_path)["pid"] == killed.process.pid
    with RunLock(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_that_nobody_waits_for_is_dead(tmp_path, contender):
    """As in a container whose first process reaps nothing."""
    killed = contender().start()
    assert killed.answer() == "holds"
    os.kill(killed.process.pid, signal.SIGKILL)
    process = psutil.Process(killed.process.pid)
    deadline = time.monotonic() + 20
    while process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with RunLock(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()


def test_a_writer_that_is_stopped_still_writes(tmp_path, contender):
    stopped = contender().start()
    assert stopped.answer() == "holds"
    os.kill(stopped.process.pid, signal.SIGSTOP)
    with pytest.raises(InputError, match="one writer"), RunLock(tmp_path):
        pytest.fail("two writers")
    os.kill(stopped.process.pid, signal.SIGCONT)
    stopped.end()


HOST = socket.gethostname()


@pytest.mark.parametrize(
    "content",
    [
        "",  # Killed between creating and filling it.
        '{"pid": 12',  # Killed while filling it.
        json.dumps({"pid": 2**22 + 1, "host": HOST}),
        # The number is in use again, by this very process.
        json.dumps({"pid": os.getpid(), "host": HOST, "started": 1.0}),
        json.dumps({"pid": -1, "host": HOST}),
        json.dumps({"pid": 10**30, "host": HOST}),
        "[" * 900,
        "[]",
        "null",
        "\0\xff",
    ],
    ids=range(10),
)
def test_a_stale_lock_is_taken_over(tmp_path, content):
    (tmp_path / NAME).write_bytes(content.encode("latin-1"))
    with RunLock(tmp_path):
        assert owner(tmp_path) == {"pid": os.getpid(), "host": HOST}
    assert os.listdir(tmp_path) == []


def test_the_lock_of_another_host_is_left_alone(tmp_path):
    content = json.dumps({"pid": 1, "host": "elsewhere"})
    (tmp_path / NAME).write_text(content)
    with (
        pytest.raises(InputError, match=r"process 1 on host elsewhere.*delete"),
        RunLock(tmp_path),
    ):
        pytest.fail("two writers")
    assert (tmp_path / NAME).read_text() == content


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    """A stranger's run must not make us overwrite another file."""
    target = tmp_path / "precious"
    target.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / NAME).symlink_to(target)
    with pytest.raises(InputError, match="writable folder"), RunLock(folder):
        pytest.fail("followed the link")
    assert target.read_text() == "precious"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_named(
    tmp_path, monkeypatch, number
):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    message = f"{re.escape(str(tmp_path))} .*writable.*{os.strerror(number)}"
    with pytest.raises(InputError, match=message), RunLock(tmp_path):
        pytest.fail("no lock")


def test_a_file_system_without_locks_is_an_input_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(InputError, match="No locks available"):
        RunLock(tmp_path).__enter__()


def test_a_lock_that_its_user_deleted_is_not_taken_from_its_successor(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / NAME).unlink()
        successor = RunLock(tmp_path)
        successor.__enter__()
    assert (tmp_path / NAME).exists()
    successor.__exit__()
    assert not (tmp_path / NAME).exists()


def test_the_file_may_vanish_between_opening_and_locking(tmp_path, monkeypatch):
    """The owner deletes it and ends just then: a lock on it is worth nothing."""
    first = RunLock(tmp_path)
    first.__enter__()
    real, calls = fcntl.flock, []

    def flock(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            first.__exit__()
        return real(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock)
    with RunLock(tmp_path):
        assert len(calls) == 2
        assert owner(tmp_path)["pid"] == os.getpid()
        with pytest.raises(InputError, match="one writer"):
            RunLock(tmp_path).__enter__()


@pytest.mark.parametrize("content", [None, "", '{"pid": 4194305}'])
def test_of_processes_that_race_for_a_lock_one_wins(
    tmp_path, contender, content
):
    """A new lock, one that is just being filled, and a stale one."""
    for _ in range(4):
        if content is not None:
            (tmp_path / NAME).write_text(content)
        rivals = [contender() for _ in range(3)]
        for rival in rivals:
            rival.start()
        answers = [rival.answer() for rival in rivals]
        winners = [a for a in answers if a == "holds"]
        losers = [a for a in answers if a.startswith("refused Expected")]
        assert (len(winners), len(losers)) == (1, 2), answers
        winner = rivals[answers.index("holds")]
        assert owner(tmp_path)["pid"] == winner.process.pid
        for rival in rivals:
            rival.end()
        assert os.listdir(tmp_path) == []
