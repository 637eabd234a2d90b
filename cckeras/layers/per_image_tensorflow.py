"""Per-image convolutions in TensorFlow's own operations, without XLA.

Arguments and results are those of
`per_image_convolution.per_image_convolution`.
"""

from __future__ import annotations

import tensorflow as tf

# Below these sizes patches beat a grouped convolution on a CPU, forward and
# backward together (measured for 3 to 256 channels, 4x4 to 32x32 pixels).
NARROW = 64
FEW_PIXELS = 64


def suits_patches(x, kernels, strides, groups) -> bool:
    """Return whether `patches` is the faster form here."""
    if groups > 1 or None in x.shape[1:3]:
        return False
    if x.shape[1] * x.shape[2] <= FEW_PIXELS:
        return True
    _, kh, kw, channels, _ = kernels.shape
    return tuple(strides) == (1, 1) and kh * kw * channels <= NARROW


def grouped(x, kernels, strides, padding, dilation, groups):
    """One convolution with the batch as groups."""
    batch, height, width, channels = _shape(x)
    _, kh, kw, _, filters = kernels.shape
    wide = tf.reshape(
        tf.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels)
    )
    kernels = tf.reshape(
        tf.transpose(kernels, (1, 2, 3, 0, 4)),
        (kh, kw, channels // groups, batch * filters),
    )
    y = tf.nn.conv2d(
        wide, kernels, strides, padding.upper(), dilations=dilation
    )
    _, height, width, _ = _shape(y)
    y = tf.reshape(y, (height, width, batch, filters))
    return tf.transpose(y, (2, 0, 1, 3))


def patches(x, kernels, padding, dilation):
    """Shifted copies times kernels, for strides and groups of one.

    The gradient is written out, since that of the slices would take several
    times as long.
    """
    kh, kw = kernels.shape[1:3]
    down, across = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    same = padding == "same"
    top, left = (down // 2, across // 2) if same else (0, 0)
    shifts = [
        (i * dilation[0], j * dilation[1]) for i in range(kh) for j in range(kw)
    ]

    @tf.custom_gradient
    def convolve(x, kernels):
        batch, height, width, channels = _shape(x)
        filters = kernels.shape[-1]
        out_h, out_w = height, width
        padded = x
        if same:
            rows, columns = (top, down - top), (left, across - left)
            padded = tf.pad(x, ((0, 0), rows, columns, (0, 0)))
        else:
            out_h, out_w = height - down, width - across
        depth, pixels = kh * kw * channels, out_h * out_w
        columns = tf.reshape(
            tf.concat(
                [padded[:, i : i + out_h, j : j + out_w] for i, j in shifts],
                axis=-1,
            ),
            (batch, pixels, depth),
        )
        matrix = tf.reshape(kernels, (batch, depth, filters))
        y = tf.reshape(
            tf.matmul(columns, matrix), (batch, out_h, out_w, filters)
        )

        def gradient(dy):
            dy = tf.reshape(dy, (batch, pixels, filters))
            d_kernels = tf.matmul(columns, dy, transpose_a=True)
            d_columns = tf.unstack(
                tf.reshape(
                    tf.matmul(dy, matrix, transpose_b=True),
                    (batch, out_h, out_w, kh * kw, channels),
                ),
                axis=3,
            )
            dx = tf.add_n(
                [
                    tf.pad(d, ((0, 0), (i, down - i), (j, across - j), (0, 0)))
                    for d, (i, j) in zip(d_columns, shifts, strict=True)
                ]
            )
            if same:
                dx = dx[:, top : top + height, left : left + width]
            return dx, tf.reshape(d_kernels, tf.shape(kernels))

        return y, gradient

    return convolve(x, kernels)


def _shape(x):
    """Return the shape, with a tensor where a size is not known."""
    dynamic = tf.unstack(tf.shape(x))
    return [
        known if known is not None else size
        for known, size in zip(x.shape, dynamic, strict=True)
    ]
