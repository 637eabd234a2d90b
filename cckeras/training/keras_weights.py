"""The weights of `keras.applications.ResNet50`, from a file or a download."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from cckeras.backbones.factory import NORM_EPSILON
from cckeras.data.network import check_network
from cckeras.errors import InputError, reason
from cckeras.training.tensor_file import Tensor, TensorFile, damaged

EPSILON = 1.001e-5
# `keras.applications.resnet.preprocess_input`: pixels minus these, as BGR.
PIXEL_MEAN = (123.68, 116.779, 103.939)
MEAN = tuple(round(value / 255, 6) for value in PIXEL_MEAN)
HEAD = "predictions/kernel"
LAYERS = {
    "stem_conv": "conv1_conv",
    "stem_norm": "conv1_bn",
    "head": "predictions",
}
BLOCK = re.compile(r"stage(\d)_(\d)_(conv|norm|project_norm|project)(\d?)")
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
DOWNLOAD = (
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
)


def check_preprocessing(config) -> None:
    """Check that the network gets the images that Keras' weights expect.

    The channels' order and their scale are converted in the first kernel; a
    mean cannot be, since zeros are added around the image after it.

    Raises:
        InputError: if the recipe's `mean` is another.
    """
    if not np.allclose(config["mean"], MEAN, rtol=0, atol=1e-6):
        raise InputError(
            f"Expected --config.mean={str(MEAN).replace(' ', '')} with the "
            f"weights of keras.applications.ResNet50. Received: "
            f"{tuple(config['mean'])}. Set it to that."
        )


def keras_classes(file: TensorFile) -> int:
    """Return the number of classes."""
    return file.shape(HEAD, 2)[1]


def keras_values(file: TensorFile, shapes, std) -> dict[str, np.ndarray]:
    """Return `{"layer/variable": array}` of our network.

    What our network does not have goes into what it has: a convolution's bias
    into the mean of the norm behind it, the other epsilon into the variance,
    order and scale of the image's channels into the first kernel.

    Args:
        file: the opened file.
        shapes: `{"layer/variable": shape}` of all that the network needs.
        std: that our network divides the channels by, RGB.

    Raises:
        InputError: that names the tensor, if the file is another network's.
    """
    values = {}
    for name, shape in shapes.items():
        layer, variable = name.split("/")
        theirs = _layer(layer)
        least = 0.0 if variable == "moving_variance" else -np.inf
        array = file.take(f"{theirs}/{variable}", shape, least)
        if variable == "moving_mean":
            convolution = theirs.removesuffix("_bn") + "_conv"
            array = array - file.take(f"{convolution}/bias", shape)
        elif variable == "moving_variance":
            array = array + np.float32(EPSILON - NORM_EPSILON)
        elif layer == "stem_conv":
            scale = 255 * np.asarray(std, np.float32)
            array = array[:, :, ::-1] * scale[:, None]
        values[name] = array
    file.check_nothing_is_left()
    return values


@contextlib.contextmanager
def open_keras_file(path: Path) -> Iterator[dict[str, Tensor]]:
    """Open a `.weights.h5`: `{"layer/variable": Tensor}`, layers by the names
    that they have in the network.

    Raises:
        InputError: if it is damaged, or no `.weights.h5` of Keras 3.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise damaged(path, error) from error
    with file:
        try:
            tensors = dict(_tensors(file))
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise damaged(path, error) from error
        if not tensors:
            raise InputError(
                f"Expected {path} to be a .weights.h5 of Keras 3. Received: an "
                "HDF5 file without layers in its layout. Save it by "
                "model.save_weights('FILE.weights.h5')."
            )
        yield tensors


def _tensors(file):
    for group in _members(file.get("layers"), h5py.Group):
        variables = group.get("vars")
        if not isinstance(variables, h5py.Group):
            continue
        layer = str(variables.attrs.get("name", ""))
        roles = NORM if layer.endswith("_bn") else ("kernel", "bias")
        for dataset in _members(variables, h5py.Dataset):
            if dataset.external or dataset.is_virtual:
                raise ValueError("its data are in other files")
            place = dataset.name.rpartition("/")[2]
            known = place.isdecimal() and int(place) < len(roles)
            role = roles[int(place)] if known else place
            yield (
                f"{layer}/{role}",
                Tensor(
                    dataset.shape,
                    dataset.dtype.name,
                    lambda data=dataset: data[()],
                ),
            )


def _members(group, kind):
    """Yield the members of a kind that are in this file, not links out of it."""
    if not isinstance(group, h5py.Group):
        return
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            member = group[name]
            if isinstance(member, kind):
                yield member


@contextlib.contextmanager
def download_imagenet() -> Iterator[dict[str, Tensor]]:
    """Yield Keras' ImageNet weights of ResNet50, as `open_keras_file` does.

    Raises:
        InputError: where they are not there and cannot be downloaded.
    """
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    kept = folder / "models" / DOWNLOAD.rpartition("/")[2]
    try:
        if not kept.exists():
            check_network([DOWNLOAD])
        model = keras.applications.ResNet50(classifier_activation=None)
    except Exception as error:
        raise InputError(
            "Expected ImageNet weights of ResNet50, which Keras downloads. "
            f"Received: {reason(error)}. Put {DOWNLOAD} into "
            f"{kept.parent}, or name a weights file by --config.pretrained=FILE."
        ) from error
    tensors = {}
    for layer in model.layers:
        for variable in layer.weights:
            tensors[f"{layer.name}/{variable.name}"] = Tensor(
                tuple(variable.shape),
                str(variable.dtype),
                lambda variable=variable: keras.ops.convert_to_numpy(variable),
            )
    yield tensors


def _layer(ours):
    """Return Keras' name of a layer of ours."""
    if ours in LAYERS:
        return LAYERS[ours]
    stage, block, part, number = BLOCK.fullmatch(ours).groups()
    kind = "bn" if "norm" in part else "conv"
    return f"conv{int(stage) + 1}_block{block}_{number or 0}_{kind}"
