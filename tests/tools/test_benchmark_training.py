"""tools/benchmark_training.py from its command line."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cckeras.schemas import check_schema

TOOL = Path(__file__).parents[2] / "tools" / "benchmark_training.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    done = run(
        "--rounds=2",
        "--only=image1_auto,pipeline",
        f"--csv={folder / 'out.csv'}",
        f"--json={folder / 'out.json'}",
    )
    assert done.returncode == 0, done.stderr
    with open(folder / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return done.stdout, rows, json.loads((folder / "out.json").read_text())


def test_json_follows_its_schema(result):
    _, _, report = result
    check_schema("benchmark_training", report, "out.json")
    assert report["rounds"] == 2
    assert [row["variant"] for row in report["rows"]] == [
        "plain",
        "image",
        "pipeline",
    ]


def test_csv_holds_the_rows_of_the_json(result):
    _, rows, report = result
    assert rows == [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in report["rows"]
    ]
    assert list(rows[0]) == [
        "machine",
        "backend",
        "versions",
        "threads",
        "network",
        "variant",
        "experts",
        "implementation",
        "median_ms",
        "iqr_ms",
        "images_per_s",
        "ratio_to_plain",
        "peak_memory_mb",
    ]


def test_ratios_and_speeds_follow_from_the_medians(result):
    _, _, report = result
    plain, *_ = report["rows"]
    assert plain["ratio_to_plain"] == 1
    for row in report["rows"]:
        ratio = row["median_ms"] / plain["median_ms"]
        assert row["ratio_to_plain"] == pytest.approx(ratio, abs=1e-3)
        speed = report["batch_size"] * 1e3 / row["median_ms"]
        assert row["images_per_s"] == pytest.approx(speed, rel=1e-2)


def test_peak_memory_is_that_of_a_whole_process(result):
    _, _, report = result
    plain, image, _ = report["rows"]
    assert plain["peak_memory_mb"] is None
    assert 100 < image["peak_memory_mb"] < 10_000


def test_table_is_printed(result):
    printed, _, _ = result
    for word in ("plain", "image", "pipeline", "images/s", "to plain"):
        assert word in printed


@pytest.mark.parametrize(
    "flag",
    [
        "--round=3",
        "--rounds=0",
        "--threads=many",
        "--only=imgae20_auto",
        "--csv=/nowhere/out.csv",
    ],
)
def test_bad_flags_end_with_two_and_one_line(flag):
    done = run(flag)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")


def test_help_shows_an_example():
    done = run("--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert "--rounds" in done.stdout
