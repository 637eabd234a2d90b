"""tools/benchmark_input.py, on a folder of pictures made here."""

import json

import numpy as np
import pytest
from PIL import Image

from cckeras.schemas import check_schema
from tests.command import run
from tests.tools import tool

TOOL = tool.load("benchmark_input")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(24):
        path = folder / "fruit" / "train" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(
            rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
        ).save(path)
    return folder


def benchmark(folder, *words):
    return run(
        TOOL.main,
        f"--data_dir={folder}",
        "--config.image_size=16",
        "--config.backbone=conv4",
        "--config.pretrained=",
        "--config.batch_size=8",
        "--config.augmentation=resized_crop_and_flip",
        "--seconds=0.2",
        *words,
    )


@pytest.mark.parametrize(
    ("used", "waits"), [(1e-3, "input"), (1e9, "training")]
)
def test_whichever_is_faster_waits(
    pictures, tmp_path, monkeypatch, used, waits
):
    monkeypatch.setattr(TOOL, "_time_steps", lambda *arguments: used)
    path = tmp_path / "out.json"
    outcome = benchmark(pictures, "--workers=0", f"--json={path}")
    assert json.loads(path.read_text())["waits"] == waits
    assert ("--workers=0 is enough" in outcome.out) == (waits == "input")


def test_epochs_that_end_begin_again(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(TOOL, "MOST_BATCHES", 1)
    path = tmp_path / "out.json"
    outcome = benchmark(pictures, "--workers=0", f"--json={path}")
    assert outcome.code == 0, outcome.error


def test_input_and_training_are_measured(pictures, tmp_path):
    path = tmp_path / "out.json"
    outcome = benchmark(pictures, "--workers=0", f"--json={path}")
    assert outcome.code == 0, outcome.error
    result = json.loads(path.read_text())
    check_schema("benchmark_input", result, "out.json")
    assert result["task"] == "fruit"
    assert result["size"] == 16
    (row,) = result["input"]
    assert row["workers"] == 0
    assert row["images_per_core_s"] > 0
    assert result["training_images_per_s"] > 0


def test_workers_are_measured(pictures, tmp_path):
    path = tmp_path / "out.json"
    outcome = benchmark(pictures, "--workers=1", f"--json={path}")
    assert outcome.code == 0, outcome.error
    (row,) = json.loads(path.read_text())["input"]
    assert row["workers"] == 1
    assert row["images_per_core_s"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers=two"], "numbers of processes"),
        (["--workers=-1"], "numbers of processes"),
        (["--task=fruits"], "'fruit'"),
        (["--benchmark=image_folders"], "'image_folder'"),
        (["--method=condconvs"], "'condconv'"),
    ],
)
def test_bad_input(pictures, words, message):
    outcome = benchmark(pictures, *words)
    assert outcome.code == 2
    assert message in outcome.error
