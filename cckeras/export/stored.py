"""Rows of numbers as a constant of a `.tflite` file, read by their index."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def float32_rows(values: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
    """Return the rows `[k, n]` of `[N, n]`, stored as they are."""
    return tf.gather(tf.constant(values), rows)


def float16_rows(values: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
    """Return the same, stored as float16.

    Disguised as int16, which no quantization of the converter touches: with
    one scale for all, little of such a table would be left.
    """
    bits = values.astype(np.float16).view(np.int16)
    halves = tf.bitcast(tf.gather(tf.constant(bits), rows), tf.float16)
    return tf.cast(halves, tf.float32)


def int8_rows(values: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
    """Return the same, stored in eight bits with a scale a row."""
    scales = np.maximum(np.abs(values).max(1, keepdims=True), 1e-12) / 127
    whole = np.rint(values / scales).astype(np.int8)
    chosen = tf.cast(tf.gather(tf.constant(whole), rows), tf.float32)
    scales = scales.astype(np.float32)
    return chosen * tf.gather(tf.constant(scales), rows)
