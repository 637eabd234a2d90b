"""A run whose first task is a network that was trained on ImageNet."""

from __future__ import annotations

import numpy as np

from cckeras.data.imagenet_classes import imagenet_names
from cckeras.data.lite0_package import MEAN, STD
from cckeras.errors import InputError
from cckeras.task import Task

IMAGENET = "imagenet"
BACKBONE = "efficientnet_lite0"
SIZES = range(96, 225)


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
    """Return the first task: the 1,000 classes."""
    return Task(IMAGENET, 1, imagenet_names())


def class_names(count: int) -> tuple[str, ...]:
    """Return the names of a file's classes: of 1,000, ImageNet's; else `class
    0`, `class 1`, ..."""
    if count == len(imagenet_names()):
        return imagenet_names()
    return tuple(f"class {place}" for place in range(count))
