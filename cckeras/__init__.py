"""cckeras: Keras networks that learn task after task and forget nothing."""

import importlib

__version__ = "0.1.0"

# Imported on first use, so that a command can answer `--help` at once and can
# choose threads and backend before Keras is loaded.
_PUBLIC = {
    "BatchNorm": "cckeras.layers.batch_norm",
    "CondConv2D": "cckeras.layers.cond_conv",
    "InputError": "cckeras.errors",
    "MaskedOptimizer": "cckeras.training.masked_optimizer",
    "OptimizerGroup": "cckeras.training.masked_optimizer",
    "Ownership": "cckeras.ownership",
    "OwnershipError": "cckeras.ownership",
    "Run": "cckeras.runs.run",
    "learn": "cckeras.training.learn",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cckeras' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted(__all__)
