"""fine_grained6: ImageNet, then five sets of finer classes (methods.md 1.2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.benchmarks.task_folders import TaskFolders
from cckeras.data.imagenet_classes import imagenet_classes, imagenet_names
from cckeras.data.pictures import Framing
from cckeras.data.sources import Split, TaskData
from cckeras.errors import InputError

TASKS = ("imagenet", "birds", "cars", "flowers", "wikiart", "sketch")
# Cropped to boxes: such a crop is stretched to a square, and only mirrored.
WARPED = ("birds", "cars")
# Those that TensorFlow Datasets has.
UNPACKED = ("imagenet", "birds", "cars", "flowers")
SMALL = "fine_grained_small"
FULL_SIZE, MARGIN = 224, 32

# Test accuracy, tables of the paper (methods.md 12.6).
PUBLISHED = {
    "scratch": (76.16, 42.03, 62.94, 46.24, 55.12, 69.48),
    "finetune": (None, 83.41, 92.85, 97.12, 74.19, 79.70),
    "condconv": (76.16, 84.26, 92.61, 97.16, 78.32, 80.77),
}


def fine_grained6(config, data_dir=None) -> Benchmark:
    """Return the benchmark, from `DIR/<task>/<train|validation|test>/<class>/`.

    At full size pictures of birds and cars are expected to be cropped to their
    boxes; the others are resized to 256 pixels and their middle is cut out. At
    `size="small"` all are squares of the recipe's size, and `DIR` may also be
    the folder that holds `fine_grained_small`.

    Where the first task's network comes from a weights file, its classes are
    ImageNet's 1,000; the folders of the task `imagenet` then begin with their
    WordNet numbers, and their pictures are only measured.

    Args:
        config: the recipe.
        data_dir: the folder `DIR`.
    """
    small = config["size"] == "small"
    folders = TaskFolders(
        data_dir,
        SMALL if small else "fine_grained6",
        TASKS,
        config["split_seed"],
        check=small,
        unpacked={} if small else {name: name for name in UNPACKED},
    )
    start = config["pretrained"]
    thousand = bool(start) and not Path(start).is_dir()

    def load(task: str) -> TaskData:
        framing = Framing(config["image_size"])
        if not small:
            framing = replace(
                framing,
                warp=task in WARPED,
                margin=round(MARGIN * framing.size / FULL_SIZE),
            )
        data = folders.load(task, framing)
        if task == TASKS[0] and thousand:
            data = among_thousand(data)
        if not small and task in WARPED:
            data = replace(data, augmentation="flip")
        return data

    rows = {} if small else PUBLISHED
    published = {
        method: {
            task: value
            for task, value in zip(TASKS, row, strict=True)
            if value is not None
        }
        for method, row in rows.items()
    }
    return Benchmark("fine_grained6", TASKS, load, published)


def among_thousand(data: TaskData) -> TaskData:
    """Return a task's pictures, labelled among the 1,000 classes of ImageNet.

    Args:
        data: its classes begin with a WordNet number, as `n01440764_tench`.

    Raises:
        InputError: that names a class which does not.
    """
    numbers = [one.wordnet for one in imagenet_classes()]
    places = {number: place for place, number in enumerate(numbers)}
    found = []
    for name in data.classes:
        number = name.split("_")[0]
        if number not in places:
            raise InputError(
                "Expected class folders of ImageNet that begin with a WordNet "
                f"number, as {numbers[0]}. Received: {name}. Rename it."
            )
        found.append(places[number])

    def relabelled(split):
        return Split(split.images, np.array(found, np.int64)[split.labels])

    return replace(
        data,
        classes=imagenet_names(),
        train=relabelled(data.train),
        validation=relabelled(data.validation),
        test=relabelled(data.test),
    )
