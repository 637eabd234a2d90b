"""A convolution whose kernel differs from image to image.

No backend has one. Two forms give the same result: `patches`, a batched
matrix product over the image's patches, and `grouped`, TensorFlow's
convolution with the batch as its groups. `auto` is `patches` on JAX and the
faster one for the shape on TensorFlow (docs/results/training.csv).
"""

from __future__ import annotations

import keras
from keras import ops

IMPLEMENTATIONS = ("auto", "grouped", "patches")


def per_image_convolution(
    x, kernels, strides, padding, dilation, groups, implementation="auto"
):
    """Convolve every image with its own kernel.

    Args:
        x: images `[B, H, W, Cin]`.
        kernels: `[B, kh, kw, Cin / groups, Cout]`.
        strides: `(vertical, horizontal)`.
        padding: `"same"` or `"valid"`, as in `keras.layers.Conv2D`.
        dilation: `(vertical, horizontal)`.
        groups: number of channel groups inside every image.
        implementation: one of `IMPLEMENTATIONS`.

    Returns:
        `[B, H', W', Cout]`.
    """
    if keras.backend.backend() != "tensorflow":
        if implementation == "grouped":
            raise ValueError(
                "Expected implementation='patches' or 'auto' on this backend. "
                "Received: implementation='grouped', which only TensorFlow has."
            )
        return patches(x, kernels, strides, padding, dilation, groups)
    from cckeras.layers import per_image_tensorflow as native

    suited = native.suits_patches(x, kernels, strides, groups)
    if implementation == "grouped" or (implementation == "auto" and not suited):
        return native.grouped(x, kernels, strides, padding, dilation, groups)
    if tuple(strides) == (1, 1) and groups == 1:
        return native.patches(x, kernels, padding, dilation)
    return patches(x, kernels, strides, padding, dilation, groups)


def same_padding(size, kernel, stride, dilation):
    """Return TensorFlow's (before, after) padding of one axis."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def patches(x, kernels, strides, padding, dilation, groups):
    """The `patches` form in Keras' operations, for any strides and groups.

    See `per_image_convolution` for arguments and result. Height and width
    must be known.
    """
    _, height, width, channels = x.shape
    kh, kw, filters = kernels.shape[1], kernels.shape[2], kernels.shape[4]
    if padding == "same":
        rows = same_padding(height, kh, strides[0], dilation[0])
        columns = same_padding(width, kw, strides[1], dilation[1])
        x = ops.pad(x, ((0, 0), rows, columns, (0, 0)))
        height, width = height + sum(rows), width + sum(columns)
    out_h = (height - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    out_w = (width - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    shifts = []
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            bottom = top + (out_h - 1) * strides[0] + 1
            right = left + (out_w - 1) * strides[1] + 1
            shifts.append(
                x[:, top : bottom : strides[0], left : right : strides[1]]
            )
    pixels = out_h * out_w
    if groups == 1:
        columns = ops.reshape(
            ops.concatenate(shifts, axis=-1), (-1, pixels, kh * kw * channels)
        )
        matrices = ops.reshape(kernels, (-1, kh * kw * channels, filters))
        y = ops.matmul(columns, matrices)
    else:
        deep, wide = channels // groups, filters // groups
        columns = ops.reshape(
            ops.stack(shifts, axis=3), (-1, pixels, kh * kw, groups, deep)
        )
        matrices = ops.reshape(kernels, (-1, kh * kw, deep, groups, wide))
        y = ops.einsum("bpkgc,bkcgf->bpgf", columns, matrices)
    return ops.reshape(y, (-1, out_h, out_w, filters))
