"""`verify` proves a sound run, and names what is damaged while it goes on."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load, save

from cckeras import verify
from cckeras.commands import exit_code
from cckeras.runs.environment import environment
from cckeras.runs.records import PROBE, TASK, WEIGHTS
from cckeras.runs.run import Run
from cckeras.runs.unforgetting import TOLERANCE, compare_logits
from cckeras.runs.verify import verify_run
from tests.runs.small import (
    NAMES,
    change_record,
    copy_run,
    flip_bit,
    forge,
    states,
    writable,
)

FIRST, SECOND = "tasks/01-zero_one", "tasks/02-two_three"
EXACT = "equal, bit for bit"


@pytest.fixture
def path(learned, tmp_path):
    return writable(copy_run(learned, tmp_path / "run"))


def verdicts(path):
    return list(verify_run(Run.open(path), environment(0)))


def command(path, tmp_path, capsys):
    """Return exit code, standard output and JSON of the command."""
    file = tmp_path / "verify.json"
    code = exit_code(verify.main, [str(path), f"--json={file}"])
    printed = "".join(capsys.readouterr())
    return code, printed, json.loads(file.read_text())


def test_a_sound_run_holds(path, tmp_path, capsys):
    before = states(path)
    code, printed, result = command(path, tmp_path, capsys)
    assert code == 0
    assert "every task is as it was committed (2 of 2)" in printed
    assert result["holds"] is True
    assert result["environment"] == environment(0)
    run = Run.open(path)
    assert result["tasks"] == [
        {
            "task": name,
            "files": "as committed",
            "tensors": f"{run.record(name)['parameters']:,} equal",
            "alone": EXACT,
            "recorded": EXACT,
            "holds": True,
        }
        for name in NAMES
    ]
    assert states(path) == before


@pytest.mark.parametrize("name", [WEIGHTS, PROBE])
def test_a_flipped_bit_fails_its_task_and_no_other(
    path, tmp_path, capsys, name
):
    file = path / SECOND / name
    flip_bit(file, 8 * file.stat().st_size - 20)
    code, printed, result = command(path, tmp_path, capsys)
    assert code == 1
    assert "NOT as committed: two_three" in printed
    assert result["holds"] is False
    first, second = result["tasks"]
    assert first["holds"]
    assert (first["alone"], first["recorded"]) == (EXACT, EXACT)
    assert second == {
        "task": "two_three",
        "files": f"{file} differs",
        "tensors": None,
        "alone": None,
        "recorded": None,
        "holds": False,
    }


def test_tasks_that_use_damaged_files_fail_with_them(path, tmp_path, capsys):
    file = path / FIRST / WEIGHTS
    flip_bit(file, 8 * file.stat().st_size - 20)
    code, _, result = command(path, tmp_path, capsys)
    assert code == 1
    first, second = result["tasks"]
    assert (first["files"], first["holds"]) == (f"{file} differs", False)
    assert (second["files"], second["holds"]) == ("as committed", False)
    assert second["tensors"] == "uses the damaged files of zero_one"


def test_a_missing_file_and_a_damaged_one_are_both_named(path):
    (path / SECOND / PROBE).unlink()
    flip_bit(path / SECOND / WEIGHTS, 100_000)
    first, second = verdicts(path)
    assert first.holds
    assert not second.holds
    assert second.files == (
        f"{path / SECOND / PROBE}: No such file or directory; "
        f"{path / SECOND / WEIGHTS} differs"
    )


def test_an_old_task_changed_with_its_hashes_fails_by_its_digest(path):
    """One element of a kernel, by the smallest step."""
    tensors = load((path / SECOND / WEIGHTS).read_bytes())
    kernel = tensors["two_three/conv2/expert"].copy()
    kernel[1, 1, 5, 7] = np.nextafter(kernel[1, 1, 5, 7], np.float32(np.inf))
    tensors["two_three/conv2/expert"] = kernel
    forge(path / SECOND, WEIGHTS, save(tensors))
    first, second = verdicts(path)
    assert first.holds
    assert (second.files, second.tensors) == ("as committed", "digest differs")
    assert not second.holds


def test_other_logits_than_recorded_fail(path):
    tensors = dict(load((path / SECOND / PROBE).read_bytes()))
    tensors["logits"] = np.nextafter(tensors["logits"], np.float32(np.inf))
    forge(path / SECOND, PROBE, save(tensors))
    first, second = verdicts(path)
    assert first.holds
    assert (second.alone, second.holds) == (EXACT, False)
    assert re.match(
        r"NOT equal, but within 0.0001 \(largest difference .*e-",
        second.recorded,
    )

    tensors["logits"] = tensors["logits"] + np.float32(0.5)
    forge(path / SECOND, PROBE, save(tensors))
    first, second = verdicts(path)
    assert (first.holds, second.holds) == (True, False)
    assert second.recorded == "NOT within 0.0001 (largest difference 0.5)"


def test_another_environment_allows_a_tolerance_and_is_named(path):
    record = json.loads((path / SECOND / TASK).read_bytes())
    there = {**record["environment"], "keras": "3.0.0", "threads": 64}
    change_record(path / SECOND / TASK, environment=there)
    tensors = dict(load((path / SECOND / PROBE).read_bytes()))
    for step, holds in ((TOLERANCE / 2, True), (3 * TOLERANCE, False)):
        changed = {**tensors, "logits": tensors["logits"] + np.float32(step)}
        forge(path / SECOND, PROBE, save(changed))
        first, second = verdicts(path)
        assert (first.holds, second.holds) == (True, holds)
        named = "recorded with another keras, threads" in second.recorded
        assert named == holds


def test_the_whole_run_is_compared_with_the_files_alone(path, monkeypatch):
    """What a bug that lets a later task reach an earlier one looks like."""
    real, loads = Run.load, []

    def load_run(self, only=None):
        method = real(self, only)
        if not loads:
            bias = method.variables["zero_one/head/bias"]
            bias.assign(bias + 1e-6)
        loads.append(only)
        return method

    monkeypatch.setattr(Run, "load", load_run)
    first, second = verdicts(path)
    assert loads == [NAMES, ("zero_one",), NAMES]
    assert (first.tensors, first.holds) == ("digest differs", False)
    assert first.alone.startswith("NOT equal, but within")
    assert second.holds


def test_contents_that_cannot_be_loaded_are_a_failed_verdict(path):
    forge(path / SECOND, WEIGHTS, b"text")
    (verdict,) = verdicts(path)
    assert (verdict.task, verdict.holds) == ("the whole run", False)
    assert str(path / SECOND / WEIGHTS) in verdict.files


@pytest.mark.parametrize("exactly", [True, False])
def test_logits_that_are_not_numbers_are_equal_to_the_same_bits_alone(exactly):
    nan = np.full((2, 3), np.nan, np.float32)
    assert compare_logits(nan, nan.copy(), exactly).holds
    zeros = np.zeros((2, 3), np.float32)
    for other in (nan, zeros + np.inf, zeros[:, :2], np.zeros((3, 2))):
        found = compare_logits(zeros, other, exactly)
        assert (found.holds, found.exact) == (False, False)
    assert compare_logits(zeros, -zeros, exactly).exact is False
    assert compare_logits(zeros, -zeros, exactly).holds is not exactly
