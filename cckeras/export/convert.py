"""TensorFlow functions to the bytes of a `.tflite` file."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf


def to_tflite(
    signatures: dict[str, tf.types.experimental.PolymorphicFunction],
    quantization: str = "none",
    samples: Collection[tuple[str, dict[str, np.ndarray]]] = (),
    variables: Sequence[tf.Variable] = (),
) -> bytes:
    """Return the content of a `.tflite` file with the given signatures.

    Only built-in operators are allowed: what needs another one fails here and
    not in the app.

    Args:
        signatures: `{name: tf.function with an input signature}`.
        quantization: of `cckeras.names.QUANTIZATIONS`; inputs and outputs are
            float32 in all of them. `none`; `float16` (weights, half the size); `int8_weights`
            (activations are quantized as they come); `int8` (all, with ranges
            from samples).
        samples: for `int8`, `(signature, inputs)`; at least one a signature,
            or none at all where the functions state the ranges themselves.
        variables: what the functions use.
    """
    module = tf.Module()
    module.used = list(variables)
    for name, function in signatures.items():
        setattr(module, name, function)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=dict(signatures))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantization != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8" and samples:
            converter.representative_dataset = lambda: iter(samples)
        with warnings.catch_warnings():
            # TensorFlow's calibration uses it itself.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is dep")
            return converter.convert()
