"""image_folder: a person's own pictures, a folder for each task and class."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.pictures import EXTENSIONS, PictureImages, is_picture
from cckeras.data.sources import Split, TaskData, stratified
from cckeras.errors import InputError, nearest

SPLITS = ("train", "validation", "test")
LAYOUT = "DIR/<task>/<train|validation|test>/<class>/"
SHARE = 0.15


def image_folder(config, data_dir=None) -> Benchmark:
    """Return the benchmark of `DIR/<task>/<train|validation|test>/<class>/*`.

    Tasks and classes are the folders' names, sorted; hidden ones, and files
    that are no pictures by their extension, are ignored. A missing test or
    validation split is 15 % of every class of train, by the configuration's
    `split_seed` and the task's name. A task's pictures are all read the first
    time that it is loaded.

    Args:
        config: a recipe with `image_size` (pixels) and `split_seed`.
        data_dir: the folder `DIR`.

    Raises:
        InputError: if there is no such folder or no task in it; loading a
            task raises it for a wrong layout and for unreadable pictures.
    """
    root = _root(data_dir)
    tasks = tuple(_folders(root))
    if not tasks:
        raise InputError(
            f"Expected task folders in --data_dir, as {LAYOUT}. Received: "
            f"{root}, which has none. Make one folder a task there."
        )
    checked = set()

    def load(task: str) -> TaskData:
        found = _pictures(root / task)
        classes = tuple(found["train"])
        paths, labels, places = _lists(found, classes)
        seed = [config["split_seed"], zlib.crc32(os.fsencode(task))]
        _take_missing(places, labels, seed)
        images = PictureImages(paths, config["image_size"])
        if task not in checked:
            images.check()
            checked.add(task)
        whole = Split(images, labels)
        splits = {name: whole.subset(places[name]) for name in SPLITS}
        return TaskData(classes, **splits)

    return Benchmark("image_folder", tasks, load)


def _root(data_dir):
    layout = f"Expected --data_dir=DIR with pictures in {LAYOUT}. Received: "
    if not data_dir:
        raise InputError(f"{layout}no --data_dir. Name your folder with it.")
    root = Path(data_dir).expanduser()
    if not root.exists():
        raise InputError(f"{layout}{root}, which is missing. Check the path.")
    if not root.is_dir():
        raise InputError(f"{layout}{root}, a file. Name the folder instead.")
    if (root / "train").is_dir() and not (root / "train" / "train").is_dir():
        raise InputError(
            f"{layout}{root}, which is one task. Move its folders into "
            f"{root / 'TASK'} and give that a name."
        )
    return root


def _folders(folder):
    """Return `{name: path}` of the sub-folders, sorted, without hidden ones."""
    return {
        path.name: path
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.is_dir() and not path.name.startswith(".")
    }


def _pictures(folder):
    """Return `{split: {class: [paths]}}` of a task whose layout is right."""
    splits = _folders(folder)
    for name, path in splits.items():
        if name not in SPLITS:
            raise InputError(
                f"Expected only {', '.join(SPLITS)} in {folder}. Received: "
                f"{path}.{nearest(name, SPLITS)} Rename it or move it away."
            )
    if "train" not in splits:
        raise InputError(
            f"Expected the folder {folder / 'train'}. Received: a task "
            "without it. Put a folder for each class there."
        )
    classes = {name: _folders(path) for name, path in splits.items()}
    _check_classes(folder, classes)
    found = {}
    for split in (name for name in SPLITS if name in splits):
        # One picture of every class stays in train.
        least = 1 + len(SPLITS) - len(splits) if split == "train" else 1
        found[split] = {
            name: _class_pictures(path, least, splits)
            for name, path in classes[split].items()
        }
    return found


def _check_classes(folder, classes):
    train = classes["train"]
    if len(train) < 2:
        raise InputError(
            f"Expected 2 or more class folders in {folder / 'train'}. "
            f"Received: {len(train)}. Add a folder of pictures for each class."
        )
    for split, names in classes.items():
        if names.keys() != train.keys():
            raise InputError(
                f"Expected the same class folders in {folder / split} as in "
                f"train. Received: {_few(train.keys() - names.keys())} in "
                f"train alone, {_few(names.keys() - train.keys())} in {split} "
                "alone. Rename or complete them."
            )


def _few(names, most=3):
    names = sorted(names)
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more) or "none"


def _class_pictures(folder, least, splits):
    paths = [path for path in folder.iterdir() if is_picture(path)]
    if len(paths) >= least:
        return sorted(paths, key=lambda path: path.name)
    kinds = " ".join(EXTENSIONS)
    if least == 1:
        raise InputError(
            f"Expected pictures ({kinds}) in {folder}. Received: none. Add "
            "some, or delete the class from every split."
        )
    missing = " and ".join(name for name in SPLITS if name not in splits)
    raise InputError(
        f"Expected {least} or more pictures ({kinds}) in {folder}, because "
        f"{missing} must be taken from them. Received: {len(paths)}. Add "
        f"pictures, or a folder for {missing}."
    )


def _lists(found, classes):
    """Return all paths, their labels int64 `[N]`, and each split's places."""
    paths, labels, places = [], [], {}
    for split, pictures in found.items():
        start = len(paths)
        for label, name in enumerate(classes):
            paths += pictures[name]
            labels += [label] * len(pictures[name])
        places[split] = np.arange(start, len(paths))
    return paths, np.array(labels, np.int64), places


def _take_missing(places, labels, seed):
    """Take the splits that are missing in `places` from train, in place."""
    left = 1.0
    for split in ("test", "validation"):
        if split not in places:
            train = places["train"]
            rest, taken = stratified(labels[train], SHARE / left, seed)
            places["train"], places[split] = train[rest], train[taken]
            left -= SHARE
