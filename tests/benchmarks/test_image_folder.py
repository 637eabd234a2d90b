"""A person's folders become tasks; every wrong layout is named."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cckeras.benchmarks import benchmark
from cckeras.benchmarks.image_folder import image_folder
from cckeras.errors import InputError

CONFIG = {"image_size": 8, "split_seed": 0}


def make(root, **counts):
    """Make pictures, `task__split__class=number`; no two of one colour."""
    made = len(list(root.rglob("*.png")))
    for name, count in counts.items():
        folder = root.joinpath(*name.split("__"))
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            colour = (made // 256, made % 256, 9)
            made += 1
            Image.new("RGB", (7, 9), colour).save(folder / f"{made}.png")
    return root


def colours(split):
    """Return the colour of every picture of a split, which identifies it."""
    pixels = split.images.read(np.arange(len(split)))[:, 0, 0]
    return [tuple(colour) for colour in pixels.tolist()]


def parts(data):
    return data.train, data.validation, data.test


def load(root, task="a", **changes):
    return image_folder({**CONFIG, **changes}, root).load(task)


def fails(root, *texts, task="a"):
    """Check that loading a task fails with one line that has the texts."""
    with pytest.raises(InputError) as caught:
        load(root, task)
    line = str(caught.value)
    assert line.startswith("Expected ")
    assert "Received: " in line
    assert "\n" not in line
    for text in texts:
        assert str(text) in line


@pytest.fixture
def root(tmp_path):
    """Two tasks: `a` has all splits, `b` has train alone and more classes."""
    return make(
        tmp_path,
        a__train__cat=5,
        a__train__dog=4,
        a__validation__cat=1,
        a__validation__dog=2,
        a__test__cat=3,
        a__test__dog=1,
        b__train__x=20,
        b__train__y=3,
        b__train__z=10,
    )


def test_it_is_registered_and_lists_tasks_by_name(root):
    make(root, B__train__x=3)
    tasks = benchmark("image_folder")(CONFIG, str(root))
    assert tasks.name == "image_folder"
    assert tasks.tasks == ("B", "a", "b")


def test_existing_splits_are_used_as_they_are(root):
    data = load(root)
    assert data.classes == ("cat", "dog")
    assert [len(part) for part in parts(data)] == [9, 3, 4]
    assert data.train.labels.tolist() == [0] * 5 + [1] * 4
    assert data.validation.labels.tolist() == [0, 1, 1]
    assert data.train.labels.dtype == np.int64
    assert data.test.images.read(np.arange(4)).shape == (4, 8, 8, 3)
    assert len({*colours(data.train), *colours(data.test)}) == 13


def test_missing_splits_are_shares_of_every_class(root):
    data = load(root, "b")
    assert data.classes == ("x", "y", "z")
    counts = [np.bincount(part.labels).tolist() for part in parts(data)]
    assert counts == [[14, 1, 7], [3, 1, 1], [3, 1, 2]]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("test", [[4, 3], [1, 2], [1, 1]]),
        ("validation", [[4, 3], [1, 1], [3, 1]]),
    ],
)
def test_one_missing_split_is_taken(root, missing, expected):
    shutil.rmtree(root / "a" / missing)
    counts = [np.bincount(part.labels).tolist() for part in parts(load(root))]
    assert counts == expected


@given(
    counts=st.lists(st.integers(3, 30), min_size=2, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_taken_splits_are_disjoint_complete_and_repeatable(
    tmp_path_factory, counts, seed
):
    root = make(
        tmp_path_factory.mktemp("pictures"),
        **{f"a__train__{i}": count for i, count in enumerate(counts)},
    )
    data, again = (load(root, split_seed=seed) for _ in range(2))
    everything = [colour for part in parts(data) for colour in colours(part)]
    assert len(everything) == len(set(everything)) == sum(counts)
    for part, same in zip(parts(data), parts(again), strict=True):
        assert set(part.labels.tolist()) == set(range(len(counts)))
        assert colours(part) == colours(same)
        np.testing.assert_array_equal(part.labels, same.labels)
    total = np.array(counts)
    for part in (data.validation, data.test):
        taken = np.bincount(part.labels)
        assert np.all(np.abs(taken - 0.15 * total) <= 1)
    assert data.fingerprint() == again.fingerprint()


def test_another_seed_or_task_name_splits_otherwise(root):
    loaded = [load(root, "b", split_seed=seed) for seed in range(5)]
    assert len({tuple(colours(data.test)) for data in loaded}) == 5
    shutil.copytree(root / "b", root / "c")
    assert colours(load(root, "b").test) != colours(load(root, "c").test)


def test_a_split_depends_on_its_task_alone(root):
    before = colours(load(root, "b").test)
    (root / "other").mkdir()
    (root / "b").rename(root / "other" / "b")
    assert colours(load(root / "other", "b").test) == before


def test_other_files_and_hidden_ones_are_ignored(root):
    before = load(root).fingerprint()
    for name in ("Thumbs.db", "notes.txt", ".hidden.png", "._1.png", "x.json"):
        for folder in (".", "a", "a/train", "a/train/cat"):
            (root / folder / name).write_bytes(b"not a picture")
    for name in (".git", "a/.cache", "a/train/.ipynb_checkpoints"):
        (root / name).mkdir()
    (root / "a/train/cat/deeper").mkdir()
    assert image_folder(CONFIG, root).tasks == ("a", "b")
    assert load(root).fingerprint() == before


def test_extensions_of_any_case_and_names_of_any_letters(root):
    folder = root / "a/train/cat"
    for name in ("PHOTO.JPG", "Ünï ☃.Jpeg", "b.TIF"):
        Image.new("RGB", (9, 9)).save(folder / name)
    (root / "a").rename(root / "ä ö")
    assert len(load(root, "ä ö").train) == 12


def test_pictures_are_verified_once(root):
    tasks = image_folder(CONFIG, root)
    tasks.load("a")
    (root / "a/train/cat/1.png").write_bytes(b"")
    again = tasks.load("a").train
    assert len(again.images.read(np.arange(len(again)))) == 9
    fails(root, root / "a/train/cat/1.png", "an empty file")


@pytest.mark.parametrize("data_dir", [None, ""])
def test_no_data_dir(data_dir):
    with pytest.raises(InputError, match=r"Expected --data_dir=DIR .*: no "):
        image_folder(CONFIG, data_dir)


def test_a_data_dir_that_is_missing_a_file_or_empty(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    for name, text in (
        ("gone", "which is missing"),
        ("file", "a file. Name the folder"),
        ("empty", "which has none"),
    ):
        with pytest.raises(InputError, match=f"{name}, {text}"):
            image_folder(CONFIG, tmp_path / name)


def test_a_task_given_as_data_dir(root):
    with pytest.raises(InputError, match="which is one task"):
        image_folder(CONFIG, root / "a")


def test_tasks_named_as_splits_are_fine(tmp_path):
    make(tmp_path, train__train__x=3, train__train__y=3)
    assert load(tmp_path, "train").classes == ("x", "y")


def test_home_is_expanded(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert image_folder(CONFIG, f"~/{root.name}").tasks == ("a", "b")


@pytest.mark.parametrize("name", ["val", "valid", "Train", "cat"])
def test_a_folder_that_is_no_split(root, name):
    (root / "a" / "validation").rename(root / "a" / name)
    fails(root, "train, validation, test", root / "a" / name, "Rename")


def test_a_task_without_train_leaves_the_others(root):
    shutil.rmtree(root / "a/train")
    assert len(load(root, "b").train) == 22
    fails(root, root / "a/train", "without it")


def test_classes_where_tasks_are_expected(tmp_path):
    make(tmp_path, cat=3, dog=3)
    place = f"move it into {tmp_path / 'TASK/train'}"
    fails(tmp_path, f"pictures in {tmp_path / 'dog'}", place, task="dog")


def test_classes_where_splits_are_expected(tmp_path):
    make(tmp_path, a__cat=3, a__dog=3)
    place = f"if it is a class, into {tmp_path / 'a/train'}"
    fails(tmp_path, tmp_path / "a/cat", place)


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_classes(tmp_path, left):
    make(tmp_path, **{f"a__train__{i}": 3 for i in range(left)})
    (tmp_path / "a/train").mkdir(parents=True, exist_ok=True)
    fails(tmp_path, "2 or more class folders", f"Received: {left}.")


def test_classes_that_differ_between_splits(root):
    (root / "a/test/dog").rename(root / "a/test/dogs")
    fails(root, root / "a/test", "dog in train alone", "dogs in test alone")
    shutil.rmtree(root / "a/test")
    (root / "a/test").mkdir()
    fails(root, "cat, dog in train alone", "none in test alone")
    make(root, **{f"a__train__x{i}": 3 for i in range(8)})
    fails(root, "cat, dog, x0, 7 more in train alone")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_class_without_pictures(root, split):
    folder = root / "a" / split / "dog"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "Thumbs.db").write_bytes(b"x")
    fails(root, folder, ".jpg", "Received: none")


def test_too_few_pictures_to_take_both_splits(root):
    next((root / "b/train/y").iterdir()).unlink()
    fails(
        root,
        "3 or more",
        root / "b/train/y",
        "test and validation must be taken",
        "Received: 2.",
        task="b",
    )


def test_too_few_pictures_to_take_one_split(tmp_path):
    make(tmp_path, a__train__x=2, a__train__y=1)
    make(tmp_path, a__test__x=1, a__test__y=1)
    fails(tmp_path, "2 or more", "validation must be", "Received: 1.")
    make(tmp_path, a__train__y=1)
    counts = [
        np.bincount(part.labels).tolist() for part in parts(load(tmp_path))
    ]
    assert counts == [[1, 1]] * 3


def test_bad_pictures_are_named_and_counted(root):
    bad = sorted((root / "b/train/x").iterdir(), key=lambda path: path.name)[:5]
    for path in bad:
        path.write_bytes(path.read_bytes()[:50])
    fails(root, *bad[:3], "5 that are not", "and 2 more", task="b")


def test_a_truncated_jpeg_is_found_at_load(root, rng):
    path = root / "a/test/dog/z.jpg"
    pixels = rng.integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    assert len(load(root).test) == 5
    path.write_bytes(path.read_bytes()[:-30])
    fails(root, path, "truncated")


@pytest.mark.parametrize("method", ["condconv", "finetune", "scratch"])
def test_the_recipe_is_valid(method):
    from cckeras.recipes import load_recipe

    config = load_recipe("image_folder", method, {})
    assert config["image_size"] == 64
    assert config["epochs"] == 60
    assert config["decay_epochs"] == [30, 48]
    assert config["pretrained"] == ""
