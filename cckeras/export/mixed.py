"""A convolution of one image with a kernel that LiteRT mixes from a bank.

XNNPACK takes a convolution only with a constant kernel, but BATCH_MATMUL with
any matrix: so it is the product of patches and mixed kernels (docs/export.md).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Up to this many input channels patches are made by one convolution with a
# constant kernel, which is cheaper than slices and joins of few channels.
FEW_CHANNELS = 8


def mixed_convolution(x, weights, bank: np.ndarray, strides: int):
    """Convolve with the weighted sum of a bank's kernels, "same" padding.

    Args:
        x: one image `[1, H, W, Cin]`.
        weights: `[1, n]`.
        bank: `[n, kh, kw, Cin, Cout]`.
        strides: of both axes.

    Returns:
        `[1, H', W', Cout]`.
    """
    _, height, width, channels, _ = bank.shape
    if height * width > 1 and channels <= FEW_CHANNELS:
        return _by_patches(x, weights, bank, strides)
    return _by_rows(x, weights, bank, strides)


def _mixed(weights, bank):
    """Return the mixed kernel `[1, K, Cout]` of a bank `[n, ..., Cout]`."""
    flat = bank.reshape(len(bank), -1)
    kernel = tf.matmul(weights, tf.constant(flat))
    return tf.reshape(kernel, (1, -1, bank.shape[-1]))


def _by_patches(x, weights, bank, strides):
    _, height, width, channels, filters = bank.shape
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
    _, rows, columns, _ = patches.shape
    product = tf.matmul(
        tf.reshape(patches, (1, rows * columns, size)), _mixed(weights, bank)
    )
    return tf.reshape(product, (1, rows, columns, filters))


def _by_rows(x, weights, bank, strides):
    """Sum over the kernel's rows: patches one row high, times that row."""
    _, height, width, channels, filters = bank.shape
    _, rows_in, columns_in, _ = x.shape
    rows, columns = -(-rows_in // strides), -(-columns_in // strides)
    top, bottom = _padding(rows_in, height, strides)
    left, right = _padding(columns_in, width, strides)
    if top + bottom + left + right:
        x = tf.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    tall = x.shape[1]
    reach = (columns - 1) * strides + 1
    shifted = [
        _every(
            tf.slice(x, (0, 0, column, 0), (1, tall, reach, channels)),
            (1, strides),
        )
        for column in range(width)
    ]
    joined = tf.concat(shifted, -1) if width > 1 else shifted[0]
    depth = (rows - 1) * strides + 1
    total = None
    for row in range(height):
        patches = _every(
            tf.slice(
                joined,
                (0, row, 0, 0),
                (1, depth, columns, width * channels),
            ),
            (strides, 1),
        )
        product = tf.matmul(
            tf.reshape(patches, (1, rows * columns, width * channels)),
            _mixed(weights, bank[:, row]),
        )
        total = product if total is None else total + product
    return tf.reshape(total, (1, rows, columns, filters))


def _padding(size, kernel, stride):
    """Return what "same" padding adds before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _every(x, strides):
    """Return every n-th row and column; XNNPACK slices by steps of one only,
    but pools by any."""
    if strides == (1, 1):
        return x
    return tf.nn.max_pool2d(x, 1, strides, "VALID")
