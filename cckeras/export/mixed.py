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


def convolution(x, kernel: np.ndarray, strides: int, padding: str):
    """Convolve images with a constant kernel.

    Args:
        x: `[B, H, W, Cin]`.
        kernel: `[kh, kw, Cin, Cout]`.
        strides: of both axes.
        padding: `"same"` or `"symmetric"`, as in `CondConv2D`.

    Returns:
        `[B, H', W', Cout]`.
    """
    height, width = kernel.shape[:2]
    zeros = _paddings(x, height, width, strides, padding)
    if zeros == _paddings(x, height, width, strides, "same"):
        return tf.nn.conv2d(x, kernel, strides, "SAME")
    x = tf.pad(x, ((0, 0), *zeros, (0, 0)))
    return tf.nn.conv2d(x, kernel, strides, "VALID")


def mixed_convolution(
    x, weights, bank: np.ndarray, strides: int, padding: str = "same"
):
    """Convolve one image with the weighted sum of a bank's kernels.

    Args:
        x: `[1, H, W, Cin]`.
        weights: `[1, n]`.
        bank: `[n, kh, kw, Cin, Cout]`.
        strides: of both axes.
        padding: `"same"` or `"symmetric"`, as in `CondConv2D`.

    Returns:
        `[1, H', W', Cout]`.
    """

    def kernel(rows):
        flat = bank[:, rows].reshape(len(bank), -1)
        mixed = tf.matmul(weights, tf.constant(flat))
        return tf.reshape(mixed, (1, -1, bank.shape[-1]))

    return run_time_convolution(x, bank.shape[1:], kernel, strides, padding)


def run_time_convolution(
    x,
    shape: tuple[int, int, int, int],
    kernel: Callable[[slice], tf.Tensor],
    strides: int,
    padding: str = "same",
):
    """Convolve images, each with a kernel of its own.

    Args:
        x: `[B, H, W, Cin]`.
        shape: of a kernel, `(kh, kw, Cin, Cout)`.
        kernel: called with some of a kernel's rows, returns those of every
            image, `[B, rows * kw * Cin, Cout]`.
        strides: of both axes.
        padding: `"same"` or `"symmetric"`, as in `CondConv2D`.

    Returns:
        `[B, H', W', Cout]`.
    """
    height, width, channels, _ = shape
    if height * width > 1 and channels <= FEW_CHANNELS:
        return _by_patches(x, shape, kernel, strides, padding)
    return _by_rows(x, shape, kernel, strides, padding)


def _by_patches(x, shape, kernel, strides, padding):
    height, width, channels, filters = shape
    size = height * width * channels
    each = np.eye(size, dtype=np.float32)
    patches = convolution(
        x, each.reshape(height, width, channels, size), strides, padding
    )
    batch, rows, columns, _ = patches.shape
    product = tf.matmul(
        tf.reshape(patches, (batch, rows * columns, size)), kernel(slice(None))
    )
    return tf.reshape(product, (batch, rows, columns, filters))


def _by_rows(x, shape, kernel, strides, padding):
    """Sum over the kernel's rows: patches one row high, times that row."""
    height, width, channels, filters = shape
    batch, rows_in, columns_in, _ = x.shape
    rows, columns = -(-rows_in // strides), -(-columns_in // strides)
    (top, bottom), (left, right) = _paddings(x, height, width, strides, padding)
    # Whole steps of the stride, for `every`.
    bottom = max(bottom, height - 1 + rows * strides - rows_in - top)
    right = max(right, width - 1 + columns * strides - columns_in - left)
    if top + bottom + left + right:
        x = tf.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    tall = x.shape[1]
    reach = columns * strides
    shifted = [
        every(
            tf.slice(x, (0, 0, column, 0), (batch, tall, reach, channels)),
            2,
            strides,
        )
        for column in range(width)
    ]
    joined = tf.concat(shifted, -1) if width > 1 else shifted[0]
    depth = rows * strides
    total = None
    for row in range(height):
        patches = every(
            tf.slice(
                joined,
                (0, row, 0, 0),
                (batch, depth, columns, width * channels),
            ),
            1,
            strides,
        )
        product = tf.matmul(
            tf.reshape(patches, (batch, rows * columns, width * channels)),
            kernel(slice(row, row + 1)),
        )
        total = product if total is None else total + product
    return tf.reshape(total, (batch, rows, columns, filters))


def _paddings(x, height, width, strides, padding):
    """Return the zeros (before, after) the rows and the columns."""
    if padding == "symmetric":
        return (height // 2,) * 2, (width // 2,) * 2
    _, rows, columns, _ = x.shape
    return (
        same_padding(rows, height, strides),
        same_padding(columns, width, strides),
    )


def same_padding(size, kernel, stride):
    """Return what "same" padding adds before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def every(x, axis: int, step: int, start: int = 0):
    """Return every n-th row (axis 1) or column (axis 2) from one of the first
    n on; there is a multiple of n.

    XNNPACK slices by steps of one only, and its pooling of one element takes
    no stride; but one of n is a slice by one along an axis of its own.
    """
    if step == 1:
        return x
    shape = x.shape.as_list()
    apart = [*shape[:axis], shape[axis] // step, step, *shape[axis + 1 :]]
    begin, size = [0] * len(apart), list(apart)
    begin[axis + 1], size[axis + 1] = start, 1
    x = tf.slice(tf.reshape(x, apart), begin, size)
    return tf.reshape(x, [*apart[: axis + 1], *apart[axis + 2 :]])
