"""tools/quantize_aware_tflite.py: a task fine-tuned to eight bits."""

import json
import subprocess

import numpy as np
import pytest

from cckeras.benchmarks.digits5 import digits5
from cckeras.export import metadata
from cckeras.export.runtime import ExportedTasks
from cckeras.schemas import check_schema
from tests.command import ROOT, environment, run
from tests.runs.small import recipe
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("quantize_aware_tflite")
PYTHON = ROOT / ".venv-quantize" / "bin" / "python"


def test_it_says_which_environment_it_needs(digits_run, tmp_path):
    done = run(
        TOOL.main, digits_run.path, "--task=zero_one",
        f"--output={tmp_path / 'out.tflite'}",
    )  # fmt: skip
    assert done.code == 2
    assert "make quantize-env" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [((), "zero_one, two_three"), (("--task=zero_on",), "zero_one")],
)
def test_it_takes_one_task_of_the_run(digits_run, tmp_path, flags, named):
    output = f"--output={tmp_path / 'out.tflite'}"
    done = run(TOOL.main, digits_run.path, output, *flags)
    assert done.code == 2
    assert named in done.error


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs make quantize-env")
def test_a_task_is_fine_tuned_and_compared(digits_run, tmp_path):
    output, report = tmp_path / "two.tflite", tmp_path / "out.json"
    done = subprocess.run(
        [
            PYTHON, ROOT / "tools" / "quantize_aware_tflite.py",
            digits_run.path, "--task=two_three", f"--output={output}",
            f"--json={report}", "--epochs=3", "--rounds=5", "--threads=1",
        ],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text())
    check_schema("quantize_aware_tflite", result, "out.json")
    rows = {row["network"]: row for row in result["rows"]}
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3]
    aware, float32 = rows["quantize_aware_int8"], rows["float32"]
    assert aware["model_size_mb"] < 0.4 * float32["model_size_mb"]
    assert aware["test_accuracy"] >= float32["test_accuracy"] - 3
    kept = rows[result["kept"]]
    assert metadata.read(output)["quantization"] == "int8"
    opened = ExportedTasks(output)
    test = digits5(recipe()).load("two_three").test
    answers = [
        opened.probabilities("two_three", image).argmax()
        for image in test.read_spread()
    ]
    right = 100 * np.mean(np.array(answers) == test.labels)
    assert right == pytest.approx(kept["test_accuracy"])
