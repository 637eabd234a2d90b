"""The k-th file operation fails, for every k: nothing committed is lost, and
the next start is clean."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.runs.records import LAST, TRAINING
from cckeras.runs.run import Run
from cckeras.training.checkpoint import Checkpoints, TrainingState
from cckeras.training.learn import open_or_create, recover
from tests.runs import tiny
from tests.runs.small import Killed, contents, copy_run, recipe, states

FIRST, SECOND = tiny.TASKS[:2]
# How an operation fails: not done at all, done in full before the failure is
# reported, or half done.
HOW = ("not_done", "done", "half_done")
HALVED = ("write", "rmtree")


class Faults:
    """Counts file operations; one of them fails.

    Args:
        monkeypatch: pytest's.
        at: number of the operation that fails, from 0; None for none.
        how: one of `HOW`.
        error: what is raised.
    """

    def __init__(self, monkeypatch, at=None, how="not_done", error=None):
        self.at = at
        self.how = how
        self.error = error
        self.done = []
        for owner, name, half in (
            (files, "write", self._write_half),
            (files, "sync_folder", None),
            (files, "rename", None),
            (Path, "mkdir", None),
            (Path, "chmod", None),
            (Path, "unlink", None),
            (shutil, "rmtree", self._remove_half),
        ):
            self._patch(monkeypatch, owner, name, half)

    def _patch(self, monkeypatch, owner, name, half):
        real = getattr(owner, name)

        def operation(*args, **kwargs):
            number = len(self.done)
            self.done.append(name)
            if number != self.at:
                return real(*args, **kwargs)
            if self.how == "half_done" and half is not None:
                half(*args)
            elif self.how == "done":
                real(*args, **kwargs)
            raise self.error

        monkeypatch.setattr(owner, name, operation)

    @staticmethod
    def _write_half(path, content):
        path.write_bytes(content[: len(content) // 2])

    @staticmethod
    def _remove_half(path):
        next(path.iterdir()).unlink()


def full():
    return OSError(errno.ENOSPC, "No space left on device")


def each_fault(operations):
    """Yield every way in which one of some operations can fail."""
    for at, name in enumerate(operations):
        for how in HOW if name in HALVED else HOW[:2]:
            for error in (full(), Killed()):
                yield {"at": at, "how": how, "error": error}


def count_operations(action):
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch)
        action()
    return faults.done


def fail(action, fault) -> None:
    """Run an action in which an operation fails.

    Only a folder that cannot be made read-only is no error.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch, **fault)
        try:
            action()
        except (OSError, InputError, Killed):
            return
    assert faults.done[fault["at"]] == "chmod"


def names(path: Path) -> list[str]:
    """Return the relative names of all files and folders."""
    return sorted(str(entry.relative_to(path)) for entry in path.rglob("*"))


@pytest.fixture(scope="module")
def one_task(tmp_path_factory):
    """A run with one committed task."""
    path = tmp_path_factory.mktemp("one_task") / "run"
    tiny.commit(tiny.new_run(path), FIRST)
    return path


@pytest.fixture(scope="module")
def two_tasks(one_task, tmp_path_factory):
    """The same run with a second task, committed undisturbed."""
    path = copy_run(one_task, tmp_path_factory.mktemp("two_tasks") / "run")
    tiny.commit(Run.open(path), SECOND)
    return path


def test_a_commit_that_fails_anywhere_can_be_repeated(
    one_task, two_tasks, tmp_path
):
    path = copy_run(one_task, tmp_path / "count")
    operations = count_operations(lambda: tiny.commit(Run.open(path), SECOND))
    assert operations == [
        "mkdir",
        *["write"] * 3,
        *["sync_folder", "rename", "sync_folder"],
        *["write", "rename", "sync_folder"],
        *["chmod"] * 4,
    ]
    expected, outcomes = contents(two_tasks), set()
    for number, fault in enumerate(each_fault(operations)):
        path = copy_run(one_task, tmp_path / str(number))
        before = states(path / "tasks" / FIRST.folder)
        run = Run.open(path)
        fail(lambda run=run: tiny.commit(run, SECOND), fault)

        run = Run.open(path)
        committed = [task.name for task in run.tasks]
        assert committed in (["first"], ["first", "second"]), fault
        assert states(path / "tasks" / FIRST.folder) == before, fault
        if len(committed) == 2:
            visible = contents(path)
            assert all(visible[name] == expected[name] for name in expected)
        outcomes.add((operations[fault["at"]], fault["how"], len(committed)))

        recover(run)
        clean = names(two_tasks if len(committed) == 2 else one_task)
        assert names(path) == clean, fault
        if len(committed) == 1:
            tiny.commit(run, SECOND)
        assert contents(path) == expected, fault
        assert states(path / "tasks" / FIRST.folder) == before, fault
        assert [task.name for task in Run.open(path).tasks] == [
            "first",
            "second",
        ]
        for folder in (path / "tasks").iterdir():
            modes = {entry.stat().st_mode & 0o222 for entry in folder.iterdir()}
            assert (folder.stat().st_mode & 0o222, modes) == (0, {0}), fault
    # The moment of the commit is the renaming of LAST, and no other one.
    assert {o for o in outcomes if o[0] == "write"} == {
        ("write", how, 1) for how in HOW
    }
    assert {count for name, _, count in outcomes if name == "rename"} == {1, 2}


def test_a_failed_start_of_a_run_can_be_repeated(tmp_path):
    config = recipe("scratch")

    def create(path):
        return open_or_create(path, "scratch", "digits5", config)

    (tmp_path / "count").mkdir()
    operations = count_operations(lambda: create(tmp_path / "count"))
    assert "rename" in operations
    for number, fault in enumerate(each_fault(operations)):
        path = tmp_path / str(number)
        path.mkdir()
        fail(lambda path=path: create(path), fault)
        run = create(path)
        recover(run)
        assert names(path) == ["run.json", "tasks", "training"], fault
        tiny.commit(run, FIRST)
        assert [task.name for task in Run.open(path).tasks] == ["first"]


def state_after(epoch: int) -> TrainingState:
    rng = np.random.default_rng(epoch)
    return TrainingState(
        "second",
        phase=1,
        epoch=epoch,
        results=[{"name": "scratch"}],
        history={"loss": [1 / index for index in range(1, epoch + 1)]},
        best_epoch=1,
        best_accuracy=0.1 + 0.2,
        first_accuracy=None,
        tensors={
            "values": {"second/kernel": rng.random((4, 5), np.float32)},
            "optimizer": {"0": np.array(epoch), "1": np.float32(0.1) ** 2},
        },
    )


def same_state(found: TrainingState, expected: TrainingState) -> bool:
    def plain(state):
        return {key: v for key, v in vars(state).items() if key != "tensors"}

    def bits(state):
        return {
            (group, name): (np.asarray(a).dtype, np.shape(a), a.tobytes())
            for group, arrays in state.tensors.items()
            for name, a in arrays.items()
        }

    return plain(found) == plain(expected) and bits(found) == bits(expected)


@pytest.fixture(scope="module")
def mid_task(one_task, tmp_path_factory):
    """A run in the third epoch of its second task."""
    path = copy_run(one_task, tmp_path_factory.mktemp("mid_task") / "run")
    for epoch in (1, 2):
        Checkpoints(path / TRAINING).save(state_after(epoch))
    return path


def test_a_checkpoint_is_what_was_saved(mid_task):
    newest = Checkpoints(mid_task / TRAINING).newest("second")
    assert same_state(newest, state_after(2))
    assert Checkpoints(mid_task / TRAINING).newest("first") is None


def test_a_checkpoint_that_fails_anywhere_leaves_the_one_before(
    mid_task, tmp_path
):
    path = copy_run(mid_task, tmp_path / "count")
    operations = count_operations(
        lambda: Checkpoints(path / TRAINING).save(state_after(3))
    )
    assert operations[-2:] == ["sync_folder", "rmtree"]
    expected, found = names(path), set()
    for number, fault in enumerate(each_fault(operations)):
        path = copy_run(mid_task, tmp_path / str(number))
        before = contents(path / "tasks")
        checkpoints = Checkpoints(path / TRAINING)
        fail(lambda save=checkpoints.save: save(state_after(3)), fault)

        recover(Run.open(path))
        newest = checkpoints.newest("second")
        assert same_state(newest, state_after(newest.epoch)), fault
        assert newest.epoch in (2, 3), fault
        found.add(newest.epoch)
        for epoch in range(newest.epoch + 1, 5):
            checkpoints.save(state_after(epoch))
        assert names(path) == [
            name.replace("00003", "00004").replace("00002", "00003")
            for name in expected
        ], fault
        assert same_state(checkpoints.newest("second"), state_after(4)), fault
        assert contents(path / "tasks") == before, fault
    assert found == {2, 3}


def test_checkpoints_of_a_committed_task_never_hinder_the_next(
    mid_task, tmp_path
):
    """The process ends after the commit, anywhere in deleting them."""
    finished = copy_run(mid_task, tmp_path / "run")
    tiny.commit(Run.open(finished), SECOND)
    path = copy_run(finished, tmp_path / "count")
    operations = count_operations(Checkpoints(path / TRAINING).clear)
    assert operations == ["rmtree", "rmtree"]
    for number, fault in enumerate(each_fault(operations)):
        path = copy_run(finished, tmp_path / str(number))
        fail(Checkpoints(path / TRAINING).clear, fault)
        recover(Run.open(path))
        assert list((path / TRAINING).iterdir()) == [], fault


def test_recovery_that_fails_anywhere_can_be_repeated(one_task, tmp_path):
    """What is deleted on the way is left half deleted, too."""
    killed = copy_run(one_task, tmp_path / "killed")
    # LAST is not renamed.
    fail(
        lambda: tiny.commit(Run.open(killed), SECOND),
        {"at": 8, "how": "not_done", "error": Killed()},
    )
    (killed / "tasks" / ".tmp-x").mkdir()
    (killed / "tasks" / ".tmp-x" / "weights.safetensors").write_bytes(b"half")
    left = set(names(killed)) - set(names(one_task))
    assert {"tasks/02-second", "tasks/.tmp-x"} < left
    path = copy_run(killed, tmp_path / "count")
    operations = count_operations(lambda: recover(Run.open(path)))
    assert operations.count("rmtree") == 2
    for number, fault in enumerate(each_fault(operations)):
        path = copy_run(killed, tmp_path / str(number))
        fail(lambda path=path: recover(Run.open(path)), fault)
        recover(Run.open(path))
        assert names(path) == names(one_task), fault
        assert contents(path) == contents(one_task), fault


def test_an_old_last_file_cannot_delete_tasks(two_tasks, tmp_path):
    path = copy_run(two_tasks, tmp_path / "run")
    files.replace_file(path / LAST, FIRST.folder.encode() + b"\n")
    before = states(path)
    with pytest.raises(InputError, match=f"{LAST} to name the last.*02-second"):
        Run.open(path)
    assert states(path) == before
