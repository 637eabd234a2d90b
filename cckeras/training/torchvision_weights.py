"""ResNets in torchvision's naming: `layer1.0.conv1.weight` and so on."""

from __future__ import annotations

import re

import numpy as np

from cckeras.training.tensor_file import TensorFile

# Counts of batches, which have no meaning at inference.
IGNORED = "num_batches_tracked"
HEAD = "fc.weight"
NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
LAYERS = {"stem_conv": "conv1", "stem_norm": "bn1", "head": "fc"}
BLOCK = re.compile(r"stage(\d)_(\d)_(conv\d|norm\d|project|project_norm)")


def torchvision_classes(file: TensorFile) -> int:
    """Return the number of classes."""
    return file.shape(HEAD, 2)[0]


def torchvision_values(file: TensorFile, shapes) -> dict[str, np.ndarray]:
    """Return `{"layer/variable": array}` of our network.

    Epsilon is 1e-5 in both, and both pad symmetrically: nothing is converted
    but the order of axes.

    Args:
        file: the opened file.
        shapes: `{"layer/variable": shape}` of all that the network needs.

    Raises:
        InputError: that names the tensor, if the file is another network's.
    """
    values = {}
    for name, shape in shapes.items():
        layer, variable = name.split("/")
        theirs = _layer(layer)
        if variable == "kernel" and len(shape) == 4:
            height, width, channels, filters = shape
            array = file.take(
                f"{theirs}.weight", (filters, channels, height, width)
            )
            values[name] = array.transpose(2, 3, 1, 0)
        elif variable == "kernel":
            values[name] = file.take(f"{theirs}.weight", shape[::-1]).T
        elif variable == "bias":
            values[name] = file.take(f"{theirs}.bias", shape)
        else:
            least = 0.0 if variable == "moving_variance" else -np.inf
            values[name] = file.take(f"{theirs}.{NORM[variable]}", shape, least)
    file.check_nothing_is_left(IGNORED)
    return values


def _layer(ours):
    """Return torchvision's name of a layer of ours."""
    if ours in LAYERS:
        return LAYERS[ours]
    stage, block, part = BLOCK.fullmatch(ours).groups()
    part = {
        "project": "downsample.0",
        "project_norm": "downsample.1",
    }.get(part, part.replace("norm", "bn"))
    return f"layer{stage}.{int(block) - 1}.{part}"
