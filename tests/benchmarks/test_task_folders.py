"""Folders of a published benchmark's tasks."""

import numpy as np
import pytest
from PIL import Image

from cckeras.benchmarks.task_folders import TaskFolders
from cckeras.data.pictures import Framing
from cckeras.errors import InputError

TASKS = ("one", "two")


def put(folder, count=10):
    for number in range(count):
        path = folder / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((20, 24, 3), number, np.uint8)
        Image.fromarray(pixels).save(path)


def folders(root, **options):
    return TaskFolders(str(root), "inner", TASKS, 0, **options)


@pytest.mark.parametrize("inner", ["", "inner"])
def test_the_folder_may_be_the_one_that_holds_it(tmp_path, inner):
    put(tmp_path / inner / "one")
    data = folders(tmp_path).load("one", Framing(16))
    assert data.classes == ("a", "b")
    assert data.train.images.read([0]).shape == (1, 16, 16, 3)
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sum(sizes) == 10
    assert min(sizes) > 0


def test_no_validation_where_the_recipe_keeps_the_last_epoch(tmp_path):
    put(tmp_path / "one")
    data = folders(tmp_path, validate=False).load("one", Framing(16))
    assert len(data.validation) == 0


def test_a_missing_task_says_what_to_put_where(tmp_path):
    put(tmp_path / "one")
    unpacked = {"two": "flowers"}
    with pytest.raises(InputError) as caught:
        folders(tmp_path, unpacked=unpacked).load("two", Framing(16))
    text = str(caught.value)
    assert str(tmp_path / "two" / "<train|validation|test>/<class>") in text
    assert "tools/unpack_tfds.py --task=flowers" in text
    assert "--tasks=one" in text


def test_a_damaged_picture_is_named_once_it_is_looked_at(tmp_path):
    put(tmp_path / "one")
    (tmp_path / "one/train/a/0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"0\.png.*empty"):
        folders(tmp_path).load("one", Framing(16))
    # Of a million pictures nobody waits for a look at each.
    assert folders(tmp_path, check=False).load("one", Framing(16)).train


@pytest.mark.parametrize(
    ("root", "message"), [("", "no --data_dir"), ("nowhere", "no folder")]
)
def test_no_folder(root, message):
    made = TaskFolders(root, "inner", TASKS, 0)
    with pytest.raises(InputError, match=message):
        made.load("one", Framing(16))
