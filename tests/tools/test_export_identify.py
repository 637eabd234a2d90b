"""tools/export_tflite.py --identify: a file that finds the task itself."""

import json

import numpy as np
import pytest

from cckeras.benchmarks.digits5 import digits5
from cckeras.export.runtime import ExportedTasks
from cckeras.schemas import check_schema
from tests.command import run
from tests.runs.small import recipe
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("export_tflite")


def export(run_path, folder, *flags):
    path, report = folder / "all.tflite", folder / "out.json"
    done = run(
        TOOL.main, run_path, f"--output={path}", f"--json={report}",
        "--identify", *flags,
    )  # fmt: skip
    return path, report, done


@pytest.mark.parametrize("quantization", ["none", "float16", "int8_weights"])
def test_it_finds_task_and_class(digits_run, tmp_path, quantization):
    path, report, done = export(
        digits_run.path, tmp_path, f"--quantize={quantization}"
    )
    assert done.code == 0, done.error
    result = json.loads(report.read_text())
    check_schema("tflite", result, "out.json")
    found = result["identify"]
    assert "identify: class" in done.out
    assert found["images"] > 100
    assert found["difference"] < (1e-4 if quantization == "none" else 0.1)
    # Chance is 50 and 25 %; two epochs were learned.
    assert found["task_accuracy"] > 90
    assert found["accuracy"] >= found["rule_accuracy"] - 1
    opened = ExportedTasks(path)
    data = digits5(recipe())
    for name in opened.tasks:
        images = data.load(name).test.read_spread(20)
        answers = [opened.identify(image) for image in images]
        assert np.mean([task == name for task, _, _ in answers]) > 0.5
        for task, label, probability in answers:
            assert label in opened.tasks[task]["classes"]
            assert 0.25 < probability <= 1


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tasks=zero_one"], "two tasks"),
        (["--split"], "one file"),
        (["--quantize=int8"], "floating point"),
        (["--target=mediapipe", "--tasks=zero_one"], "two tasks"),
    ],
)
def test_what_does_not_go_with_it(digits_run, tmp_path, flags, named):
    path, _, done = export(digits_run.path, tmp_path, *flags)
    assert done.code == 2
    assert named in done.error
    assert not path.exists()


def test_a_file_that_finds_wrongly_is_not_written(
    digits_run, tmp_path, monkeypatch
):
    real = ExportedTasks.identify

    def doubtful(self, image):
        task, label, probability = real(self, image)
        return task, label, probability - 1e-3

    monkeypatch.setattr(ExportedTasks, "identify", doubtful)
    path, _, done = export(digits_run.path, tmp_path)
    assert done.code == 1
    assert "find tasks" in done.error
    assert not path.exists()


def test_a_file_without_the_signature_says_so(digits_run, tmp_path):
    path = tmp_path / "plain.tflite"
    done = run(TOOL.main, digits_run.path, f"--output={path}")
    assert done.code == 0, done.error
    with pytest.raises(Exception, match="Export it with --identify"):
        ExportedTasks(path).identify(np.zeros((32, 32, 3)))
