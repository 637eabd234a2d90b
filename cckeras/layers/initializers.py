"""Initial values that depend on a seed and nothing else."""

from __future__ import annotations

import zlib

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="cckeras")
class FanInUniform(keras.initializers.Initializer):
    """Uniform in plus or minus `1 / sqrt(fan_in)` (methods.md 2).

    This is what PyTorch's convolutions and dense layers start from, weights
    and biases alike. The values are drawn by NumPy, so TensorFlow and JAX
    start from the same numbers.

    Args:
        seed: an integer, or a list of integers and strings that together name
            the variable; equal seeds give equal values.
        fan_in: inputs of one output; from the shape (all but its last axis)
            if None. A bias needs it.
    """

    def __init__(self, seed, fan_in: int | None = None):
        self.seed = list(seed) if isinstance(seed, list | tuple) else [seed]
        self.fan_in = fan_in

    def __call__(self, shape, dtype=None):
        fan_in = self.fan_in or int(np.prod(shape[:-1]))
        limit = 1.0 / np.sqrt(max(fan_in, 1))
        words = [
            zlib.crc32(part.encode()) if isinstance(part, str) else int(part)
            for part in self.seed
        ]
        values = np.random.default_rng(words).uniform(-limit, limit, shape)
        return keras.ops.convert_to_tensor(values.astype("float32"), dtype)

    def get_config(self):
        return {"seed": self.seed, "fan_in": self.fan_in}
