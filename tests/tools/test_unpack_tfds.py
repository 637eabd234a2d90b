"""tools/unpack_tfds.py, on sets of the right form with random pictures."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cckeras.benchmarks.fine_grained6 import UNPACKED, fine_grained6
from cckeras.benchmarks.imagenet50_5 import CLASSES, TASKS
from cckeras.recipes import load_recipe
from cckeras.schemas import check_schema
from tests.command import run
from tests.tools import tool

TOOL = tool.load("unpack_tfds")


class Builder:
    """A set with some examples in each split."""

    def __init__(self, examples, names):
        self.examples = examples
        label = tfds.features.ClassLabel(names=names)
        features = tfds.features.FeaturesDict({"label": label})
        self.info = type("Info", (), {"features": features})
        self.data_dir = "/nowhere"

    def is_prepared(self):
        return True

    def download_and_prepare(self):
        pass

    def as_dataset(self, split):
        return (
            [self.examples]
            if isinstance(self.examples, Exception)
            else (self.examples[split])
        )


def example(rng, label, size=(180, 240), **more):
    pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return {"image": pixels, "label": np.int64(label), **more}


@pytest.fixture
def unpack(monkeypatch, tmp_path):
    def run_on(builder, task, *words):
        monkeypatch.setattr(tfds, "builder", lambda *_, **__: builder)
        monkeypatch.setattr(tfds, "as_numpy", lambda dataset: dataset)
        return run(
            TOOL.main, f"--task={task}", f"--output={tmp_path / 'out'}", *words
        )

    return run_on


def files(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_birds_are_cropped_and_named(rng, unpack, tmp_path):
    box = np.array([0.2, 0.25, 0.7, 0.75], np.float32)
    rows = [
        example(rng, label, bbox=box, label_name=b"00%d.A_bird" % label)
        for label in (0, 1)
    ]
    builder = Builder({"train": rows, "test": rows[:1]}, ["0", "1"])
    report = tmp_path / "report.json"
    outcome = unpack(builder, "birds", f"--json={report}")
    assert outcome.code == 0, outcome.error
    assert files(tmp_path / "out" / "birds") == [
        "test/000.A_bird/0000000.jpg",
        "train/000.A_bird/0000000.jpg",
        "train/001.A_bird/0000001.jpg",
    ]
    path = tmp_path / "out/birds/train/000.A_bird/0000000.jpg"
    with Image.open(path) as image:
        assert image.size == (120, 90)
    result = json.loads(report.read_text())
    check_schema("unpack_tfds", result, "report")
    assert result["pictures"] == {"train": 2, "test": 1}


def test_flowers_are_learned_from_the_folder(rng, unpack, tmp_path):
    names = ["pink primrose", "hard-leaved pocket orchid"]
    rows = [example(rng, label) for label in (0, 1) for _ in range(10)]
    builder = Builder({"train+validation": rows, "test": rows[::5]}, names)
    outcome = unpack(builder, "flowers")
    assert outcome.code == 0, outcome.error
    config = load_recipe("fine_grained6", "finetune", {})
    data = fine_grained6(config, tmp_path / "out").load("flowers")
    assert data.classes == ("hard-leaved_pocket_orchid", "pink_primrose")
    assert len(data.test) == 4
    # Never written over.
    outcome = unpack(builder, "flowers")
    assert outcome.code == 2
    assert "not to be there yet" in outcome.error


def test_the_fifty_classes_alone_are_written_exactly(rng, unpack, tmp_path):
    names = [CLASSES[0], "n99999999", CLASSES[10]]
    rows = [example(rng, label, (32, 32)) for label in range(3)]
    builder = Builder({"train": rows, "validation": rows[:1]}, names)
    outcome = unpack(builder, "imagenet50_32")
    assert outcome.code == 0, outcome.error
    assert files(tmp_path / "out") == [
        f"{TASKS[0]}/test/{CLASSES[0]}/0000000.png",
        f"{TASKS[0]}/train/{CLASSES[0]}/0000000.png",
        f"{TASKS[1]}/train/{CLASSES[10]}/0000002.png",
    ]
    written = tmp_path / "out" / TASKS[1] / "train" / CLASSES[10]
    with Image.open(written / "0000002.png") as image:
        assert np.array_equal(np.asarray(image), rows[2]["image"])


def test_what_a_missing_folder_names_is_known():
    assert {*UNPACKED, "imagenet50"} <= set(TOOL.SOURCES)


def test_a_set_that_cannot_be_had(unpack, monkeypatch, tmp_path):
    builder = Builder({}, ["0"])

    def fail():
        raise OSError("no network")

    monkeypatch.setattr(builder, "download_and_prepare", fail)
    outcome = unpack(builder, "cars")
    assert outcome.code == 2
    assert "cars196" in outcome.error
    assert "no network" in outcome.error
    assert not (tmp_path / "out").exists()
    outcome = unpack(builder, "car")
    assert outcome.code == 2
    assert "'cars'" in outcome.error
