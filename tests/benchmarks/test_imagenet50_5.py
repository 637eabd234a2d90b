"""imagenet50_5: the published classes, and what is said where others are."""

import numpy as np
import pytest

from cckeras.benchmarks import benchmark
from cckeras.benchmarks.imagenet50_5 import CLASSES, TASKS, imagenet50_5
from cckeras.data.imagenet_classes import imagenet_classes
from cckeras.errors import InputError
from cckeras.recipes import load_recipe
from tests.command import make_pictures


def config(**changes):
    return load_recipe("imagenet50_5", "condconv", changes)


@pytest.fixture
def root(tmp_path):
    for place, task in enumerate(TASKS[:2]):
        make_pictures(
            tmp_path / task,
            count=2,
            classes=CLASSES[10 * place : 10 * place + 10],
            seed=place,
        )
    return tmp_path


def test_the_classes_are_fifty_of_imagenet_in_order():
    known = {one.wordnet for one in imagenet_classes()}
    assert len(CLASSES) == 50
    assert set(CLASSES) <= known
    assert list(CLASSES) == sorted(CLASSES)


def test_there_is_no_validation_split(root):
    data = imagenet50_5(config(), root).load("task_2")
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sizes == [20, 0, 20]
    assert data.classes == CLASSES[10:20]
    assert data.test.images.read([1]).shape == (1, 32, 32, 3)


def test_other_classes_are_for_the_small_size_alone(root):
    (root / "task_1").rename(root / "task_3")
    with pytest.raises(InputError, match=f"{CLASSES[20]}.*--config.size=small"):
        imagenet50_5(config(), root).load("task_3")
    small = imagenet50_5(config(size="small"), root).load("task_3")
    assert small.classes == CLASSES[:10]


def test_a_width_needs_the_backbone_that_has_one():
    with pytest.raises(InputError, match="Received: 'conv4'"):
        config(backbone="conv4")


def test_all_tasks_as_one(root):
    whole = config(joint="True", size="small")
    made = benchmark("imagenet50_5")(whole, root)
    parts = benchmark("imagenet50_5")(config(size="small"), root)
    assert made.tasks == ("joint",)
    for task in TASKS[2:]:
        make_pictures(root / task, count=1, classes=CLASSES[:10])
    data = made.load("joint")
    assert len(data.classes) == 50
    assert data.classes[10] == f"task_2/{CLASSES[10]}"
    second = parts.load("task_2")
    place = 20 + np.arange(20)
    np.testing.assert_array_equal(
        data.test.labels[place] - 10, second.test.labels
    )
    np.testing.assert_array_equal(
        data.test.images.read(place), second.test.images.read(np.arange(20))
    )
    mixed = data.train.images.read([21, 0, 20])
    np.testing.assert_array_equal(mixed[0], second.train.images.read([1])[0])
    crops = data.train.images.crops([0, 21], np.random.default_rng(0))
    assert crops.shape == (2, 32, 32, 3)
    assert data.train.images.read([]).shape == (0, 32, 32, 3)
