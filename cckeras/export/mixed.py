"""Convolutions whose kernel is known at run time only, as LiteRT runs them best.

XNNPACK takes a convolution only with a constant kernel, but BATCH_MATMUL with
any matrix: so it is the product of patches and kernels (docs/export.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

# Up to this many input channels patches are made by one convolution with a
# constant kernel, which is cheaper than slices and joins of few channels.
FEW_CHANNELS = 8


def mixed_convolution(x, weights, bank: np.ndarray, strides: int):
    """Convolve one image with the weighted sum of a bank's kernels.

    Args:
        x: `[1, H, W, Cin]`.
        weights: `[1, n]`.
        bank: `[n, kh, kw, Cin, Cout]`.
        strides: of both axes; "same" padding.

    Returns:
        `[1, H', W', Cout]`.
    """

    def kernel(rows):
        flat = bank[:, rows].reshape(len(bank), -1)
        mixed = tf.matmul(weights, tf.constant(flat))
        return tf.reshape(mixed, (1, -1, bank.shape[-1]))

    return run_time_convolution(x, bank.shape[1:], kernel, strides)


def run_time_convolution(
    x,
    shape: tuple[int, int, int, int],
    kernel: Callable[[slice], tf.Tensor],
    strides: int,
):
    """Convolve images, each with a kernel of its own.

    Args:
        x: `[B, H, W, Cin]`.
        shape: of a kernel, `(kh, kw, Cin, Cout)`.
        kernel: called with some of a kernel's rows, returns those of every
            image, `[B, rows * kw * Cin, Cout]`.
        strides: of both axes; "same" padding.

    Returns:
        `[B, H', W', Cout]`.
    """
    height, width, channels, _ = shape
    if height * width > 1 and channels <= FEW_CHANNELS:
        return _by_patches(x, shape, kernel, strides)
    return _by_rows(x, shape, kernel, strides)


def _by_patches(x, shape, kernel, strides):
    height, width, channels, filters = shape
    size = height * width * channels
    patches = tf.nn.conv2d(
        x,
        tf.constant(
            np.eye(size, dtype=np.float32).reshape(
                height, width, channels, size
            )
        ),
        strides,
        "SAME",
    )
    batch, rows, columns, _ = patches.shape
    product = tf.matmul(
        tf.reshape(patches, (batch, rows * columns, size)), kernel(slice(None))
    )
    return tf.reshape(product, (batch, rows, columns, filters))


def _by_rows(x, shape, kernel, strides):
    """Sum over the kernel's rows: patches one row high, times that row."""
    height, width, channels, filters = shape
    batch, rows_in, columns_in, _ = x.shape
    rows, columns = -(-rows_in // strides), -(-columns_in // strides)
    top, bottom = padding(rows_in, height, strides)
    left, right = padding(columns_in, width, strides)
    if top + bottom + left + right:
        x = tf.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    tall = x.shape[1]
    reach = (columns - 1) * strides + 1
    shifted = [
        every(
            tf.slice(x, (0, 0, column, 0), (batch, tall, reach, channels)),
            (1, strides),
        )
        for column in range(width)
    ]
    joined = tf.concat(shifted, -1) if width > 1 else shifted[0]
    depth = (rows - 1) * strides + 1
    total = None
    for row in range(height):
        patches = every(
            tf.slice(
                joined,
                (0, row, 0, 0),
                (batch, depth, columns, width * channels),
            ),
            (strides, 1),
        )
        product = tf.matmul(
            tf.reshape(patches, (batch, rows * columns, width * channels)),
            kernel(slice(row, row + 1)),
        )
        total = product if total is None else total + product
    return tf.reshape(total, (batch, rows, columns, filters))


def padding(size, kernel, stride):
    """Return what "same" padding adds before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def every(x, strides):
    """Return every n-th row and column; XNNPACK slices by steps of one only,
    but pools by any."""
    if strides == (1, 1):
        return x
    return tf.nn.max_pool2d(x, 1, strides, "VALID")
