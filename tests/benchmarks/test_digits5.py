"""digits5: real digits, five tasks of two classes, disjoint splits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cckeras.benchmarks import benchmark
from cckeras.benchmarks.digits5 import NAMES, TASKS, digits5
from cckeras.errors import InputError

SIZES = {
    "zero_one": (216, 54, 90),
    "two_three": (216, 54, 90),
    "four_five": (218, 54, 91),
    "six_seven": (216, 54, 90),
    "eight_nine": (212, 53, 89),
}


@pytest.fixture(scope="module")
def tasks():
    digits = digits5({"split_seed": 0})
    return {name: digits.load(name) for name in digits.tasks}


def parts(data):
    return data.train, data.validation, data.test


def all_images(split):
    return split.images.read(np.arange(len(split)))


def test_it_has_five_tasks_in_the_order_of_the_digits():
    digits = digits5({"split_seed": 0})
    assert digits.name == "digits5"
    assert digits.tasks == tuple(SIZES)
    assert digits.published == {}


def test_every_task_has_its_two_classes(tasks):
    pairs = [data.classes for data in tasks.values()]
    assert pairs == list(zip(NAMES[::2], NAMES[1::2], strict=True))
    for data in tasks.values():
        for part in parts(data):
            assert part.labels.dtype == np.int64
            assert set(part.labels) == {0, 1}


def test_sizes(tasks):
    found = {
        name: tuple(len(part) for part in parts(data))
        for name, data in tasks.items()
    }
    assert found == SIZES
    assert sum(map(sum, found.values())) == 1797


def test_images_are_rgb_of_16_by_16_and_use_the_whole_range(tasks):
    for data in tasks.values():
        for part in parts(data):
            images = all_images(part)
            assert images.dtype == np.uint8
            assert images.shape == (len(part), 16, 16, 3)
            assert (images.min(), images.max()) == (0, 255)


def test_the_splits_of_all_tasks_partition_the_digits(tasks):
    """Every digit of the source is in one split, with its own label."""
    source = load_digits()
    expected = sorted(
        (int(label), np.round(image * 255 / 16).astype(np.uint8).tobytes())
        for image, label in zip(source.images, source.target, strict=True)
    )
    found = []
    for task, data in enumerate(tasks.values()):
        for part in parts(data):
            small = np.ascontiguousarray(all_images(part)[:, ::2, ::2, 0])
            found += [
                (2 * task + int(label), image.tobytes())
                for image, label in zip(small, part.labels, strict=True)
            ]
    assert sorted(found) == expected


def test_pixels_are_repeated_in_both_directions_and_all_channels(tasks):
    images = all_images(tasks["zero_one"].train)
    small = images[:, ::2, ::2, :1]
    enlarged = small.repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_array_equal(images, enlarged)


def test_the_split_depends_on_its_seed_alone(tasks):
    again = digits5({"split_seed": 0, "seed": 5}).load("two_three")
    other = digits5({"split_seed": 1}).load("two_three")
    assert again.fingerprint() == tasks["two_three"].fingerprint()
    assert other.fingerprint() != again.fingerprint()


def test_it_is_registered_and_errors_help():
    assert benchmark("digits5") is digits5
    assert digits5({"split_seed": 0}).tasks == TASKS
    with pytest.raises(InputError, match="Did you mean 'digits5'"):
        benchmark("digit5")
