"""The arithmetic of a routed convolution, shared by the bank and its views."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from cckeras.layers.per_image_convolution import per_image_convolution


class Geometry(NamedTuple):
    """What a convolution needs beside its weights."""

    strides: tuple[int, int]
    padding: str
    dilation: tuple[int, int]
    groups: int
    data_format: str
    implementation: str


class TaskWeights(NamedTuple):
    """One task's weights of a bank; what the task does not use is None.

    `experts` are `[kh, kw, Cin, Cout]` each; the router is `router_kernel`
    `[Cin, n]` with `router_bias` `[n]` (routing per image), or
    `router_logits` `[n]` (routing per task); `bias` is `[Cout]`. With
    `own_weight` the last expert is not routed: its weight is one.
    """

    experts: Any
    router_kernel: Any = None
    router_bias: Any = None
    router_logits: Any = None
    bias: Any = None
    own_weight: bool = False

    @property
    def routed(self) -> int:
        """Number of experts that have a routing weight to be learned."""
        return len(self.experts) - self.own_weight


def routing_weights(x, weights: TaskWeights):
    """Return the routing weights of channels-last images (methods.md 3.1).

    Args:
        x: `[B, H, W, Cin]`; not read unless routing is per image.
        weights: the task's weights.

    Returns:
        `[B, n]` (per image), `[n]` (per task), or None for a task whose
        routing is fixed at one (its own expert only).
    """
    if weights.router_kernel is not None:
        pooled = ops.mean(x, axis=(1, 2))
        routing = ops.sigmoid(
            ops.matmul(pooled, weights.router_kernel) + weights.router_bias
        )
    elif weights.router_logits is not None:
        routing = ops.sigmoid(weights.router_logits)
    else:
        return None
    if weights.own_weight:
        one = ops.ones_like(routing[..., :1])
        routing = ops.concatenate([routing, one], axis=-1)
    return routing


def mix(routing, experts):
    """Return the sum of the experts, weighted: `[kh, kw, Cin, Cout]`, with a
    leading batch axis if the routing weights have one."""
    shape = experts[0].shape
    flat = [ops.reshape(kernel, (-1,)) for kernel in experts]
    if len(routing.shape) == 2:
        return ops.reshape(ops.matmul(routing, ops.stack(flat)), (-1, *shape))
    # The last expert apart: the others are frozen, and no gradient is computed
    # for a product of frozen experts alone.
    mixed = routing[-1] * flat[-1]
    if len(flat) > 1:
        mixed = mixed + ops.matmul(routing[None, :-1], ops.stack(flat[:-1]))[0]
    return ops.reshape(mixed, shape)


def padded(x, kernel_size, geometry: Geometry):
    """Add the zeros of symmetric padding, which no backend has.

    Args:
        x: `[B, H, W, Cin]`.
        kernel_size: `(kh, kw)`, odd.
        geometry: strides and the like.

    Returns:
        x and the padding to convolve it with, `"same"` or `"valid"`.
    """
    if geometry.padding != "symmetric":
        return x, geometry.padding
    if tuple(geometry.strides) == (1, 1) or tuple(kernel_size) == (1, 1):
        return x, "same"  # It is the same, and costs no copy.
    rows, columns = (
        (dilation * (size // 2),) * 2
        for size, dilation in zip(kernel_size, geometry.dilation, strict=True)
    )
    return ops.pad(x, ((0, 0), rows, columns, (0, 0))), "valid"


def routed_convolution(x, weights: TaskWeights, geometry: Geometry):
    """Convolve images with their task's, or their own, mixed kernel.

    Args:
        x: images in the geometry's `data_format`.
        weights: the task's weights.
        geometry: strides and the like.

    Returns:
        What `keras.layers.Conv2D` with the mixed kernel returns.
    """
    first = geometry.data_format == "channels_first"
    if first:
        x = ops.transpose(x, (0, 2, 3, 1))
    routing = routing_weights(x, weights)  # Of the image without padding.
    x, padding = padded(x, weights.experts[0].shape[:2], geometry)
    if routing is not None and len(routing.shape) == 2:
        y = per_image_convolution(
            x,
            mix(routing, weights.experts),
            geometry.strides,
            padding,
            geometry.dilation,
            geometry.groups,
            geometry.implementation,
        )
    else:
        if routing is None:
            kernel = ops.convert_to_tensor(weights.experts[0])
        else:
            kernel = mix(routing, weights.experts)
        y = ops.conv(
            x,
            kernel,
            strides=geometry.strides,
            padding=padding,
            dilation_rate=geometry.dilation,
            data_format="channels_last",
        )
    if weights.bias is not None:
        y = y + ops.convert_to_tensor(weights.bias)
    return ops.transpose(y, (0, 3, 1, 2)) if first else y
