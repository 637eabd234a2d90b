"""tools/export_tflite.py --split: a file for each task."""

import json

from cckeras.export.runtime import ExportedTasks
from cckeras.schemas import check_schema
from tests.command import run
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("export_tflite")


def test_each_task_gets_a_file_named_after_it(digits_run, tmp_path):
    report = tmp_path / "out.json"
    done = run(
        TOOL.main, digits_run.path, f"--output={tmp_path / 'each.tflite'}",
        "--split", f"--json={report}",
    )  # fmt: skip
    assert done.code == 0, done.error
    result = json.loads(report.read_text())
    check_schema("tflite_files", result, "out.json")
    names = [file["tasks"][0]["name"] for file in result["files"]]
    assert len(names) == 2
    for name in names:
        opened = ExportedTasks(tmp_path / f"each.{name}.tflite")
        assert list(opened.tasks) == [name]
    assert len(list(tmp_path.glob("*.tflite"))) == 2
