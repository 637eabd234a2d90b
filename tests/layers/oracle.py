"""CondConv in NumPy, from methods.md 3.1: one loop per sum, float64."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def padding_before(size, kernel, stride, dilation):
    """Return the zeros before an axis with "same" padding, and its output."""
    out = int(np.ceil(size / stride))
    last = (out - 1) * stride + (kernel - 1) * dilation
    return max(last + 1 - size, 0) // 2, out


def convolution(image, kernel, strides, padding, dilation, groups):
    """Convolve one image `[H, W, Cin]` with one kernel, element by element."""
    height, width, channels = image.shape
    kh, kw, deep, filters = kernel.shape
    wide = filters // groups
    if padding == "same":
        top, out_h = padding_before(height, kh, strides[0], dilation[0])
        left, out_w = padding_before(width, kw, strides[1], dilation[1])
    elif padding == "symmetric":
        top, left = kh // 2 * dilation[0], kw // 2 * dilation[1]
        out_h = int(np.ceil(height / strides[0]))
        out_w = int(np.ceil(width / strides[1]))
    else:
        top = left = 0
        out_h = (height - (kh - 1) * dilation[0] - 1) // strides[0] + 1
        out_w = (width - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    out = np.zeros((out_h, out_w, filters))
    for row, column, i, j in np.ndindex(out_h, out_w, kh, kw):
        y = row * strides[0] + i * dilation[0] - top
        x = column * strides[1] + j * dilation[1] - left
        if not (0 <= y < height and 0 <= x < width):
            continue
        for group in range(groups):
            pixel = image[y, x, group * deep : (group + 1) * deep]
            out_of = slice(group * wide, (group + 1) * wide)
            out[row, column, out_of] += pixel @ kernel[i, j, :, out_of]
    assert channels == groups * deep
    return out


def cond_conv(
    images,
    experts,
    *,
    router=None,
    logits=None,
    own_weight=False,
    bias=None,
    strides=(1, 1),
    padding="valid",
    dilation=(1, 1),
    groups=1,
    data_format="channels_last",
):
    """Return a routed convolution of images.

    Args:
        images: in the given `data_format`.
        experts: list of kernels `[kh, kw, Cin / groups, Cout]`.
        router: `(A [Cin, n], b [n])`, routing per image.
        logits: `[n]`, routing per task; with neither, routing is one.
        own_weight: whether the last expert has weight one.
        bias: `[Cout]`.
    """
    images = np.asarray(images, np.float64)
    if data_format == "channels_first":
        images = images.transpose(0, 2, 3, 1)
    outputs = []
    for image in images:
        if router is not None:
            pooled = np.zeros(image.shape[-1])
            for row, column in np.ndindex(image.shape[:2]):
                pooled += image[row, column]
            pooled /= image.shape[0] * image.shape[1]
            routing = list(sigmoid(pooled @ router[0] + router[1]))
        elif logits is not None:
            routing = list(sigmoid(np.asarray(logits, np.float64)))
        else:
            routing = [] if own_weight else [1.0]
        if own_weight:
            routing.append(1.0)
        kernel = np.zeros(experts[0].shape)
        for weight, expert in zip(routing, experts, strict=True):
            kernel += weight * np.asarray(expert, np.float64)
        y = convolution(image, kernel, strides, padding, dilation, groups)
        outputs.append(y if bias is None else y + bias)
    outputs = np.array(outputs)
    if data_format == "channels_first":
        outputs = outputs.transpose(0, 3, 1, 2)
    return outputs


def of_layer(layer, task, images):
    """Return what a `CondConv2D` should give for a task's images."""
    from tests.backend import array

    weights = layer.weights_of(task)
    router = weights.router_kernel
    return cond_conv(
        images,
        [array(expert) for expert in weights.experts],
        router=None
        if router is None
        else (array(router), array(weights.router_bias)),
        logits=None
        if weights.router_logits is None
        else array(weights.router_logits),
        own_weight=weights.own_weight,
        bias=None if weights.bias is None else array(weights.bias),
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        data_format=layer.data_format,
    )
