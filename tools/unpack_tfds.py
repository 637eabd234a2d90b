#!/usr/bin/env python3
"""Write a set of TensorFlow Datasets as a task's folder of pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cckeras.commands import run_command, start_backend, write_json
from cckeras.console import telling
from cckeras.data.prepared_set import prepared_set
from cckeras.errors import InputError, choose
from cckeras.flags import Flags

HELP = """
Write a set of TensorFlow Datasets as DIR/TASK/<train|test>/<class>/, the layout
of the benchmarks fine_grained6 and imagenet50_5. TensorFlow Datasets downloads
and prepares the set first, if it is not there: imagenet2012 needs its two
archives put into its folder by hand. Birds and cars are cropped to their boxes.

Tasks: birds (caltech_birds2011), cars (cars196), flowers (oxford_flowers102),
imagenet (imagenet2012), imagenet50 (the fifty published classes of it, in five
tasks), imagenet50_32 (the same of imagenet_resized/32x32).

Example:
  python tools/unpack_tfds.py --task=flowers --output=DIR
  python tools/unpack_tfds.py --task=imagenet50_32 --output=DIR --tfds_dir=TFDS
"""
ADVICE = (
    "Download it where there is a network, or put your own pictures into "
    "DIR/<task>/<train|test>/<class>/."
)
QUALITY = 95
# JPEG would change every pixel of such a picture.
TINY = 64


@dataclass(frozen=True)
class Source:
    """A set, and how it becomes folders.

    Args:
        name: of TensorFlow Datasets.
        splits: `{split here: split there}`.
        cropped: whether pictures are cropped to their `bbox`.
        published: whether only the fifty published classes are taken, in the
            folders of their tasks.
    """

    name: str
    splits: dict[str, str]
    cropped: bool = False
    published: bool = False


TRAIN_TEST = {"train": "train", "test": "test"}
IMAGENET = {"train": "train", "test": "validation"}
SOURCES = {
    "birds": Source("caltech_birds2011", TRAIN_TEST, cropped=True),
    "cars": Source("cars196", TRAIN_TEST, cropped=True),
    "flowers": Source(
        "oxford_flowers102", {"train": "train+validation", "test": "test"}
    ),
    "imagenet": Source("imagenet2012", IMAGENET),
    "imagenet50": Source("imagenet2012", IMAGENET, published=True),
    "imagenet50_32": Source("imagenet_resized/32x32", IMAGENET, published=True),
}


def main(arguments: list[str]) -> None:
    """Run the tool."""
    flags = Flags("unpack_tfds.py", HELP)
    flags.add_text("task", None, f"one of {', '.join(SOURCES)}")
    flags.add_text("output", None, "folder DIR, in which the task's is made")
    flags.add_text("tfds_dir", None, "folder of TensorFlow Datasets")
    flags.parse(arguments)
    if not flags.task or not flags.output:
        raise InputError(
            "Expected --task=TASK and --output=DIR. Received: "
            f"task={flags.task}, output={flags.output}. Give both."
        )
    source = SOURCES[choose("--task", flags.task, SOURCES)]
    root = Path(flags.output)
    folders = _folders(flags.task, source, root)
    for folder in folders:
        if folder.exists():
            raise InputError(
                f"Expected {folder} not to be there yet. Received: a folder. "
                "Delete it, or choose another --output."
            )
    there = next(
        path for path in (root, *root.resolve().parents) if path.exists()
    )
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(
            f"Expected --output={root} to be a folder that can be made. "
            f"Received: {there}, where it cannot. Choose another."
        )
    start_backend()
    with telling() as tell:
        tell(f"preparing {source.name}")
        counts = unpack(source, flags.task, root, flags.tfds_dir, tell)
    for name, count in counts.items():
        print(f"{name}: {count:,} pictures in {root}")
    write_json(
        flags.json,
        "unpack_tfds",
        {"task": flags.task, "source": source.name, "pictures": counts},
    )


def unpack(
    source: Source, task: str, root: Path, tfds_dir: str | None, tell
) -> dict[str, int]:
    """Write the pictures; return `{split: how many}`."""
    builder = prepared_set(source.name, tfds_dir, ADVICE)
    names = _class_names(builder)
    placed = _places(source, task, names)
    counts = {}
    for split, theirs in source.splits.items():
        counts[split] = 0
        for number, example in enumerate(_examples(builder, theirs)):
            folder = placed.get(int(example["label"]))
            if number % 100 == 0:
                tell(f"{split}: {number:,} read")
            if folder is None:
                continue
            task_folder, class_name = folder
            if "label_name" in example:  # Birds' labels are numbers.
                class_name = _folder_name(example["label_name"].decode())
            path = root / task_folder / split / class_name / f"{number:07}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(_pixels(example, source.cropped), path)
            counts[split] += 1
    return counts


def _folders(task, source, root):
    from cckeras.benchmarks.imagenet50_5 import TASKS

    return [root / name for name in (TASKS if source.published else (task,))]


def _examples(builder, split) -> Iterator[dict]:
    import tensorflow_datasets as tfds

    return iter(tfds.as_numpy(builder.as_dataset(split=split)))


def _class_names(builder) -> list[str]:
    return list(builder.info.features["label"].names)


def _places(source, task, names):
    """Return `{label: (task's folder, class)}` of the classes to write."""
    from cckeras.benchmarks.imagenet50_5 import CLASSES, TASKS

    if source.published:
        found = {name: place for place, name in enumerate(CLASSES)}
        return {
            label: (TASKS[found[name] // 10], name)
            for label, name in enumerate(names)
            if name in found
        }
    return {
        label: (task, _folder_name(name)) for label, name in enumerate(names)
    }


def _folder_name(name):
    return re.sub(r"[^\w.-]+", "_", name).strip("._")


def _pixels(example, cropped):
    pixels = example["image"]
    if not cropped:
        return pixels
    height, width = pixels.shape[:2]
    top, left, bottom, right = (float(x) for x in example["bbox"])
    first, last = sorted((int(top * height), int(np.ceil(bottom * height))))
    start, stop = sorted((int(left * width), int(np.ceil(right * width))))
    return pixels[first : max(last, first + 1), start : max(stop, start + 1)]


def _save(pixels, path):
    image = Image.fromarray(pixels)
    if max(image.size) <= TINY:
        image.save(path.with_suffix(".png"))
    else:
        image.save(path.with_suffix(".jpg"), quality=QUALITY)


if __name__ == "__main__":
    run_command(main)
