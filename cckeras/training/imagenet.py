"""A run whose first task is a network that was trained on ImageNet."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from cckeras.data.lite0_package import MEAN, STD
from cckeras.errors import InputError
from cckeras.task import Task

IMAGENET = "imagenet"
BACKBONE = "efficientnet_lite0"
CLASSES = 1000
SIZES = range(96, 225)
# Where TensorFlow Datasets, if it is installed, lists the classes in order.
LABELS = "datasets/imagenet2012/labels.txt"


def check_imagenet_start(config) -> None:
    """Check that a recipe's network can start from the ImageNet weights.

    Raises:
        InputError: that names the key to change.
    """
    wanted = {
        "backbone": BACKBONE,
        "mean": MEAN,
        "std": STD,
    }
    start = "Expected --config.pretrained=imagenet with --config."
    for key, value in wanted.items():
        received = config[key]
        if key == "backbone":
            same = received == value
        else:
            same = np.allclose(received, value, rtol=0, atol=1e-6)
        if not same:
            shown = str(value).replace(" ", "")
            raise InputError(
                f"{start}{key}={shown}. Received: {received}. Set it to that, "
                "or start without weights by --config.pretrained="
            )
    if config["image_size"] not in SIZES:
        raise InputError(
            f"{start}image_size in {SIZES[0]}..{SIZES[-1]}. Received: "
            f"{config['image_size']}. Choose one of these, or start without "
            "weights by --config.pretrained="
        )


def imagenet_task() -> Task:
    """Return the first task: 1,000 classes.

    They are called by their WordNet number if TensorFlow Datasets is there to
    tell, else by their place.
    """
    return Task(IMAGENET, 1, _labels() or numbered_classes(CLASSES))


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return names of classes that have none: `class 0`, `class 1`, ..."""
    return tuple(f"class {place}" for place in range(count))


def _labels():
    spec = importlib.util.find_spec("tensorflow_datasets")
    if spec is None:
        return ()
    path = Path(spec.submodule_search_locations[0]) / LABELS
    names = path.read_text().split() if path.is_file() else ()
    return tuple(names) if len(names) == CLASSES else ()
