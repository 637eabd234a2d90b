"""Pretrained weights that are no run's: whose they are, and how to read them.

Nothing here unpickles: a file of PyTorch's own format is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.training import keras_weights as from_keras
from cckeras.training import torchvision_weights as from_torchvision
from cckeras.training.imagenet import IMAGENET
from cckeras.training.tensor_file import (
    TensorFile,
    damaged,
    open_safetensors,
)

MOST_CLASSES = 100_000
TORCHVISION = ("resnet18", "resnet50")
KERAS = "resnet50_v1"
SAVING = (
    "Save Keras' by model.save_weights('FILE.weights.h5'), PyTorch's by "
    "safetensors.torch.save_file(model.state_dict(), 'FILE.safetensors')."
)


@dataclass(frozen=True)
class Weights:
    """Opened pretrained weights.

    Args:
        classes: number of classes of their head.
        origin: what a record says of them: the file's SHA-256, or "imagenet".
        values: from `{"layer/variable": shape}` of the network to
            `{"layer/variable": array}`.
    """

    classes: int
    origin: str
    values: Callable[[dict[str, tuple]], dict[str, np.ndarray]]


@contextlib.contextmanager
def open_weights(source: str, config) -> Iterator[Weights]:
    """Open what `--config.pretrained` names, if it is no run.

    Args:
        source: path of a `.weights.h5` of `keras.applications.ResNet50` or of
            a safetensors file in torchvision's naming; or "imagenet".
        config: the resolved recipe; its backbone decides what can be read.

    Raises:
        InputError: that names the file, and the tensor where one is wrong.
    """
    backbone = config["backbone"]
    if source == IMAGENET:
        _check_backbone("imagenet", "Keras' ImageNet weights", (KERAS,), config)
        origin = IMAGENET
        opened = from_keras.download_imagenet()
    else:
        path = Path(source)
        kind = _kind(path)
        if kind == "keras":
            _check_backbone(source, "a Keras file", (KERAS,), config)
            opened = from_keras.open_keras_file(path)
        else:
            _check_backbone(source, "safetensors", TORCHVISION, config)
            opened = open_safetensors(path)
        try:
            origin = files.sha256(path)
        except OSError as error:
            raise damaged(path, error) from error
    keras = backbone == KERAS
    if keras:
        from_keras.check_preprocessing(config)
    network = "keras.applications.ResNet50" if keras else f"a {backbone}"
    with opened as tensors:
        file = TensorFile(source, tensors, network)
        if keras:
            classes = from_keras.keras_classes(file)
        else:
            classes = from_torchvision.torchvision_classes(file)
        if not 2 <= classes <= MOST_CLASSES:
            raise InputError(
                f"Expected {source} to have 2 to {MOST_CLASSES} classes. "
                f"Received: {classes}. Give the file of a classifier."
            )

        def values(shapes):
            if keras:
                return from_keras.keras_values(file, shapes, config["std"])
            return from_torchvision.torchvision_values(file, shapes)

        yield Weights(classes, origin, values)


def _kind(path):
    """Return "keras" or "torchvision", by the file's first bytes."""
    expected = (
        "Expected --config.pretrained to be a run's folder, a weights file or "
        f"{IMAGENET!r}. Received: {str(path)!r}, "
    )
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise InputError(
            f"{expected}which is missing. Check the path."
        ) from error
    except OSError as error:
        raise InputError(
            f"{expected}{error.strerror}. Check the path."
        ) from error
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if start[8:] == b"{":
        return "torchvision"
    what = "neither HDF5 nor safetensors"
    if start.startswith((b"PK", b"\x80")):
        what = (
            "a pickle (as PyTorch writes; it could run any program, and is "
            "never read) or a zip archive"
        )
    raise InputError(f"{expected}{what}. {SAVING}")


def _check_backbone(source, what, backbones, config):
    if config["backbone"] not in backbones:
        raise InputError(
            f"Expected --config.backbone={' or '.join(backbones)} with "
            f"--config.pretrained={source}, {what}. Received: "
            f"{config['backbone']}. Set it, or give other weights."
        )
