"""TensorFlow functions to the bytes of a `.tflite` file."""

from __future__ import annotations

import tempfile

import tensorflow as tf


def to_tflite(signatures: dict[str, tf.types.experimental.PolymorphicFunction]):
    """Return the content of a `.tflite` file with the given signatures.

    Only built-in operators are allowed: what needs another one fails here and
    not in the app.

    Args:
        signatures: `{name: tf.function with an input signature}`.
    """
    module = tf.Module()
    for name, function in signatures.items():
        setattr(module, name, function)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=dict(signatures))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()
