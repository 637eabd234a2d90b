"""A depthwise convolution whose kernel is known at run time only.

XNNPACK takes one only with a constant kernel; shifted images times a number a
channel, summed, stay inside it.
"""

from __future__ import annotations

import tensorflow as tf

from cckeras.export.mixed import every, same_padding


def run_time_depthwise(x, kernels, size: int, strides: int):
    """Convolve each channel of images, each image with a kernel of its own.

    Args:
        x: `[B, H, W, C]`.
        kernels: `[B, size * size, C]`.
        size: of a kernel.
        strides: of both axes; "same" padding.

    Returns:
        `[B, H', W', C]`.
    """
    batch, height, width, channels = x.shape
    rows, columns = -(-height // strides), -(-width // strides)
    # Up to a multiple of the strides: then all phases have one shape.
    (top, bottom), (left, right) = (
        same_padding(length, size, strides) for length in (height, width)
    )
    x = tf.pad(
        x,
        (
            (0, 0),
            (top, bottom + -(height + top + bottom) % strides),
            (left, right + -(width + left + right) % strides),
            (0, 0),
        ),
    )
    phases = _phases(x, strides)
    total = None
    for row in range(size):
        for column in range(size):
            shifted = tf.slice(
                phases[row % strides, column % strides],
                (0, row // strides, column // strides, 0),
                (batch, rows, columns, channels),
            )
            tap = tf.slice(
                kernels, (0, row * size + column, 0), (batch, 1, channels)
            )
            part = shifted * tf.reshape(tap, (batch, 1, 1, channels))
            total = part if total is None else total + part
    return total


def _phases(x, strides):
    """Return every n-th row and column, beginning with each of the first n:
    a stride is then a choice of phase."""
    return {
        (row, column): every(every(x, 1, strides, row), 2, strides, column)
        for row in range(strides)
        for column in range(strides)
    }
