"""tools/benchmark_tflite.py: the table, and what it refuses."""

import csv
import json

import pytest

from cckeras.schemas import check_schema
from tests.command import ROOT, run, run_process
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("benchmark_tflite")


@pytest.fixture(scope="module")
def exported(digits_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "digits.tflite"
    tool = load("export_tflite")
    output = f"--output={path}"
    done = run(tool.main, digits_run.path, output, "--routing=exact")
    assert done.code == 0, done.error
    return path


@pytest.fixture(scope="module")
def measured(exported):
    """The outcome of timing the file beside plain networks, and its files."""
    outputs = {
        name: exported.with_name(f"out.{name}") for name in ("csv", "json")
    }
    plot = exported.with_name("plot.svg")
    done = run_process(
        ROOT / "tools" / "benchmark_tflite.py", exported, "--compare",
        "--rounds=5", f"--plot={plot}",
        *(f"--{name}={path}" for name, path in outputs.items()),
    )  # fmt: skip
    assert done.code == 0, done.error
    report = json.loads(outputs["json"].read_text())
    rows = list(csv.DictReader(outputs["csv"].read_text().splitlines()))
    return done, report, rows, plot


def test_a_row_for_every_network(measured):
    done, report, rows, _ = measured
    check_schema("benchmark_tflite", report, "out.json")
    files = ["plain.tflite", "plain x 16.34.tflite", "digits.tflite"]
    assert [row["file"] for row in report["rows"]] == files
    assert [row["file"] for row in rows] == files
    assert list(rows[0]) == list(TOOL.COLUMNS)
    assert all(name in done.out for name in files)


def test_what_is_measured_is_plausible(measured):
    plain, large, exact = measured[1]["rows"]
    assert plain["ratio"] == 1
    assert large["ratio"] > 5
    assert large["model_size_mb"] == pytest.approx(
        16.34 * plain["model_size_mb"], rel=0.05
    )
    assert exact["form"] == "exact"
    assert json.loads(exact["outside_xnnpack"]) == {"GATHER": 1}
    for row in measured[1]["rows"]:
        assert row["min_ms"] <= row["p5_ms"] <= row["median_ms"]
        assert row["median_ms"] <= row["p95_ms"] <= row["max_ms"]
        assert row["memory_mb"] > row["model_size_mb"]
        assert row["num_runs"] == 10


def test_the_plot_names_every_row(measured):
    plot = measured[3].read_text()
    assert plot.count("<svg") == 1
    for name in ("plain.tflite, constant", "digits.tflite, exact"):
        assert name in plot


def test_a_file_that_is_missing_or_not_ours(exported, tmp_path):
    done = run(TOOL.main, tmp_path / "none.tflite")
    assert done.code == 2
    assert "none.tflite: No such file" in done.error
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"TFL3" * 100)
    done = run(TOOL.main, exported, foreign)
    assert done.code == 2
    assert str(foreign) in done.error
    assert "export_tflite.py" in done.error
    assert len(done.error.splitlines()) == 1


def test_an_output_that_cannot_be_written(exported):
    done = run(TOOL.main, exported, "--csv=/no/where/out.csv")
    assert done.code == 2
    assert "/no/where" in done.error
