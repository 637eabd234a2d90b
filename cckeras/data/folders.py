"""A task's pictures, in a folder for each split and class."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from cckeras.data.pictures import (
    EXTENSIONS,
    Framing,
    PictureImages,
    PictureMemory,
    is_picture,
)
from cckeras.data.sources import Split, TaskData, stratified
from cckeras.errors import InputError, nearest

SPLITS = ("train", "validation", "test")
SHARE = 0.15


def folder_task(
    folder: Path,
    framing: Framing,
    split_seed: int,
    memory: PictureMemory | None = None,
    validate: bool = True,
    check: bool = True,
) -> TaskData:
    """Return the task of `FOLDER/<train|validation|test>/<class>/*`.

    Classes are the folders' names, sorted; hidden ones, and files that are no
    pictures by their extension, are ignored. A missing test or validation
    split is 15 % of every class of train, by the seed and the folder's name.

    Args:
        folder: the task's.
        framing: how pictures become squares.
        split_seed: of the splits that are missing.
        memory: where pictures are kept.
        validate: take a missing validation split from train; else it is empty.
        check: read them all now.

    Raises:
        InputError: for a wrong layout; for unreadable pictures, where they
            are read.
    """
    wanted = ("test", "validation") if validate else ("test",)
    found = _pictures(folder, wanted)
    classes = tuple(found["train"])
    paths, labels, places = _lists(found, classes)
    seed = [split_seed, zlib.crc32(os.fsencode(folder.name))]
    _take_missing(places, labels, seed, wanted)
    places.setdefault("validation", np.zeros(0, int))
    images = PictureImages(paths, framing, memory)
    if check:
        images.check()
    whole = Split(images, labels)
    return TaskData(
        classes,
        **{name: whole.subset(places[name]) for name in SPLITS},
        framing=framing.to_json(),
    )


def sub_folders(folder: Path) -> dict[str, Path]:
    """Return `{name: path}` of the sub-folders, sorted, without hidden ones."""
    return {
        path.name: path
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.is_dir() and not path.name.startswith(".")
    }


def _pictures(folder, wanted):
    """Return `{split: {class: [paths]}}` of a task whose layout is right.

    Args:
        folder: the task's.
        wanted: splits that are taken from train where they are missing.
    """
    splits = sub_folders(folder)
    for name, path in splits.items():
        if name not in SPLITS:
            raise InputError(
                f"Expected only {', '.join(SPLITS)} in {folder}. Received: "
                f"{path}.{nearest(name, SPLITS)} Rename it, move it away, "
                f"or, if it is a class, into {folder / 'train'}."
            )
    if "train" not in splits:
        text = f"Expected the folder {folder / 'train'}. Received: "
        if any(is_picture(path) for path in folder.iterdir()):
            raise InputError(
                f"{text}pictures in {folder} itself. If it is a class, move it "
                f"into {folder.parent / 'TASK' / 'train'}."
            )
        raise InputError(
            f"{text}a task without it. Put a folder for each class there."
        )
    classes = {name: sub_folders(path) for name, path in splits.items()}
    _check_classes(folder, classes)
    found = {}
    missing = [name for name in wanted if name not in splits]
    for split in (name for name in SPLITS if name in splits):
        # One picture of every class stays in train.
        taken = missing if split == "train" else ()
        found[split] = {
            name: _class_pictures(path, taken)
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


def _class_pictures(folder, taken):
    """Return a class' pictures, of which some splits will each take one."""
    least = 1 + len(taken)
    paths = [path for path in folder.iterdir() if is_picture(path)]
    if len(paths) >= least:
        return sorted(paths, key=lambda path: path.name)
    kinds = " ".join(EXTENSIONS)
    if not taken:
        raise InputError(
            f"Expected pictures ({kinds}) in {folder}. Received: none. Add "
            "some, or delete the class from every split."
        )
    missing = " and ".join(taken)
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


def _take_missing(places, labels, seed, wanted):
    """Take the wanted splits that `places` lacks from train, in place."""
    left = 1.0
    for split in wanted:
        if split not in places:
            train = places["train"]
            rest, taken = stratified(labels[train], SHARE / left, seed)
            places["train"], places[split] = train[rest], train[taken]
            left -= SHARE
