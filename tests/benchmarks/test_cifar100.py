"""cifar100_20 from small files of the official layout, and damaged files."""

import hashlib
import io
import pickle
import sys
import tarfile

import numpy as np
import pytest

from cckeras.benchmarks.cifar100_20 import PUBLISHED, TASKS, cifar100_20
from cckeras.data import cifar100
from cckeras.data.cifar100 import ARCHIVE, NPZ, Cifar100, load_cifar100
from cckeras.errors import InputError

CLASSES = 100
SIZES = {"train": 10 * CLASSES, "test": 2 * CLASSES}


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    """Ten training and two test images of every class."""
    monkeypatch.setattr(cifar100, "SIZES", SIZES)


@pytest.fixture(scope="module")
def data():
    """Images that say their class and number in their first two pixels."""
    parts = []
    rng = np.random.default_rng(5)
    for size in SIZES.values():
        labels = rng.permutation(np.arange(size) % CLASSES).astype(np.int64)
        images = rng.integers(0, 256, (size, 32, 32, 3), np.uint8)
        images[:, 0, 0, 0] = labels
        parts += [images, labels]
    return Cifar100(*parts)


def write_npz(folder, data, **changes):
    arrays = {**data._asdict(), **changes}
    arrays = {k: v for k, v in arrays.items() if v is not None}
    np.savez(folder / NPZ, **arrays)


def write_archive(folder, contents):
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return hashlib.md5((folder / ARCHIVE).read_bytes()).hexdigest()  # noqa: S324


def official(images, labels):
    """Return a part as the official archive has it: rows of channel planes."""
    table = {
        b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1),
        b"fine_labels": labels.tolist(),
    }
    return pickle.dumps(table)


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_good_npz_is_read(tmp_path, data):
    write_npz(tmp_path, data)
    assert_same(load_cifar100(str(tmp_path)), data)


def test_a_good_archive_is_read(tmp_path, data, monkeypatch):
    digest = write_archive(
        tmp_path,
        {
            "train": official(data.x_train, data.y_train),
            "test": official(data.x_test, data.y_test),
        },
    )
    monkeypatch.setattr(cifar100, "ARCHIVE_MD5", digest)
    assert_same(load_cifar100(tmp_path), data)


def test_an_archive_with_another_md5_is_never_unpickled(tmp_path):
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    write_archive(tmp_path, {"train": trap, "test": trap})
    with pytest.raises(
        InputError, match=r"official archive.*Download it again"
    ):
        load_cifar100(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_pickled_arrays_in_an_npz_are_never_unpickled(tmp_path, data):
    traps = np.array([Trap(tmp_path / "sprung")], dtype=object)
    write_npz(tmp_path, data, x_train=traps)
    with pytest.raises(InputError, match="complete copy"):
        load_cifar100(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04" * 9])
def test_a_file_that_is_no_npz_is_an_input_error(tmp_path, content):
    (tmp_path / NPZ).write_bytes(content)
    with pytest.raises(InputError, match="to hold the arrays x_train"):
        load_cifar100(tmp_path)


def test_a_truncated_npz_is_an_input_error(tmp_path, data):
    write_npz(tmp_path, data)
    whole = (tmp_path / NPZ).read_bytes()
    (tmp_path / NPZ).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="complete copy"):
        load_cifar100(tmp_path)


SIZE = SIZES["train"]


@pytest.mark.parametrize(
    "changes",
    [
        {"y_test": None},
        {"x_train": np.zeros((SIZE - 1, 32, 32, 3), np.uint8)},
        {"x_train": np.zeros((SIZE, 3, 32, 32), np.uint8)},
        {"x_train": np.zeros((SIZE, 32, 32, 3), np.float32)},
        {"y_train": np.zeros(SIZE - 1, np.int64)},
        {"y_train": np.zeros((SIZE, 1), np.int64)},
        {"y_train": np.array(3)},
        {"y_train": np.zeros(SIZE, np.float32)},
        {"y_train": np.full(SIZE, 100)},
        {"y_train": np.full(SIZE, -1)},
    ],
)
def test_wrong_arrays_are_an_input_error(tmp_path, data, changes):
    write_npz(tmp_path, data, **changes)
    with pytest.raises(InputError, match=f"{NPZ}.*complete copy"):
        load_cifar100(tmp_path)


def test_a_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"--data_dir.*nowhere.*not a folder"):
        load_cifar100(str(tmp_path / "nowhere"))


def test_an_empty_folder_without_tfds_is_an_input_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        InputError, match=r"tensorflow-datasets.*cifar100.*--data_dir"
    ):
        load_cifar100(tmp_path)


def test_a_damaged_prepared_set_is_an_input_error(monkeypatch):
    class Damaged:
        data_dir = "sets/cifar100"

        def as_dataset(self, split, batch_size):
            raise OSError(f"corrupted\nrecord in {split}")

    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(
        "cckeras.data.cifar100.prepared_set", lambda *_: Damaged()
    )
    with pytest.raises(
        InputError, match=r"sets/cifar100 .*OSError: corrupted record in train"
    ):
        load_cifar100(None)


def test_one_hundred_sorted_fine_classes_in_twenty_sorted_tasks():
    assert len(TASKS) == 20
    assert list(TASKS) == sorted(TASKS)
    names = [row.split() for row in TASKS.values()]
    assert all(len(row) == 5 and row == sorted(row) for row in names)
    assert len({name for row in names for name in row}) == CLASSES


def test_published_rows_have_their_published_averages():
    assert all(len(row) == 20 for row in PUBLISHED.values())
    averages = {name: round(np.mean(r), 1) for name, r in PUBLISHED.items()}
    assert averages == {"scratch": 76.8, "finetune": 75.5, "condconv": 77.4}


@pytest.fixture
def cifar(tmp_path, data):
    write_npz(tmp_path, data)
    return cifar100_20({"split_seed": 0}, tmp_path)


def test_every_task_has_the_images_of_its_classes(cifar, data):
    fine = sorted(" ".join(TASKS.values()).split())
    seen = 0
    for name in cifar.tasks:
        task = cifar.load(name)
        assert task.classes == tuple(TASKS[name].split())
        parts = task.train, task.validation, task.test
        assert [len(part) for part in parts] == [40, 10, 10]
        for part in parts:
            images = part.images.read(np.arange(len(part)))
            assert part.labels.dtype == np.int64
            classes = [task.classes[label] for label in part.labels]
            assert classes == [fine[image[0, 0, 0]] for image in images]
            seen += len(part)
    assert seen == len(data.y_train) + len(data.y_test)


def test_splits_are_disjoint_and_stratified(cifar):
    task = cifar.load("people")
    train = task.train.images.read(np.arange(40))
    held = task.validation.images.read(np.arange(10))
    assert len({image.tobytes() for image in (*train, *held)}) == 50
    np.testing.assert_array_equal(np.bincount(task.train.labels), [8] * 5)
    np.testing.assert_array_equal(np.bincount(task.validation.labels), [2] * 5)
    np.testing.assert_array_equal(np.bincount(task.test.labels), [2] * 5)


def test_the_split_depends_on_the_split_seed(tmp_path, cifar):
    prints = {
        cifar100_20({"split_seed": seed}, tmp_path).load("trees").fingerprint()
        for seed in (0, 0, 1)
    }
    assert cifar.load("trees").fingerprint() in prints
    assert len(prints) == 2


def test_published_rows_are_given_by_task(cifar):
    assert cifar.published["condconv"]["vehicles_2"] == 91.2
    assert cifar.published["scratch"]["aquatic_mammals"] == 65.4
