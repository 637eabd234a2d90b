"""A task's network as plain arrays: what export needs of any method."""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np

from cckeras.layers.batch_norm import BatchNorm
from cckeras.layers.task_conv import TaskConv2D
from cckeras.methods.base import Method

# Router logits whose sigmoid is exactly 1, and exactly 0, in float32.
ALWAYS = 1e4
NEVER = -1e4


@dataclass(frozen=True)
class Convolution:
    """A convolution whose kernel is a weighted sum of experts.

    The weights are `sigmoid(mean(x) @ router_kernel + router_bias)`.

    Args:
        experts: `{task that owns it: [kh, kw, Cin, Cout]}`.
        router_kernel: `[Cin, n]`, or None where no image decides.
        router_bias: `[n]`.
    """

    experts: dict[str, np.ndarray]
    router_kernel: np.ndarray | None
    router_bias: np.ndarray

    @property
    def constant(self) -> bool:
        """Whether the kernel is the same for every image."""
        return self.router_kernel is None

    def mixed(self, weights=None) -> np.ndarray:
        """Return the kernel for routing weights `[n]`; without, the constant
        one."""
        if weights is None:
            with np.errstate(over="ignore"):
                weights = 1 / (1 + np.exp(-self.router_bias))
        kernels = np.stack(list(self.experts.values()))
        return np.tensordot(weights.astype(np.float32), kernels, 1)


@dataclass(frozen=True)
class Norm:
    """A normalisation at inference; arrays are `[C]`."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    @property
    def scale(self) -> np.ndarray:
        """What the input is multiplied by."""
        return self.gamma / np.sqrt(self.variance + self.epsilon)

    @property
    def offset(self) -> np.ndarray:
        """What is added to it then."""
        return self.beta - self.mean * self.scale


@dataclass(frozen=True)
class Network:
    """One task's network.

    Args:
        convolutions, norms: by the layer's name.
        head_kernel: `[F, classes]`.
        head_bias: `[classes]`.
        own: kernels that are in no bank, `{layer: [kh, kw, Cin, Cout]}`; of
            depthwise convolutions `[kh, kw, C, 1]`.
    """

    convolutions: dict[str, Convolution]
    norms: dict[str, Norm]
    head_kernel: np.ndarray
    head_bias: np.ndarray
    own: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def constant(self) -> bool:
        """Whether no image decides on a kernel."""
        return all(conv.constant for conv in self.convolutions.values())


def read_network(method: Method, name: str) -> Network:
    """Return the arrays of a task's network.

    Raises:
        NotImplementedError: for a layer with weights that is not known here.
    """
    model = method.task_model(name)
    experts = method.uses(method.tasks[name])
    convolutions, norms, own, head = {}, {}, {}, None
    for layer in model.layers:
        if isinstance(layer, TaskConv2D):
            convolutions[layer.name] = _routed(layer.weights_in_use, experts)
        elif isinstance(
            layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D
        ):
            own[layer.name] = np.asarray(layer.kernel)
        elif isinstance(layer, BatchNorm):
            norms[layer.name] = Norm(
                *map(
                    np.asarray,
                    (
                        layer.gamma,
                        layer.beta,
                        layer.moving_mean,
                        layer.moving_variance,
                    ),
                ),
                layer.epsilon,
            )
        elif layer.name == "head":
            head = [np.asarray(variable) for variable in layer.weights]
        elif layer.weights:
            raise NotImplementedError(
                f"Expected convolutions, norms and a head. Received: "
                f"{layer.name!r}, a {type(layer).__name__} with weights. Add "
                "it to cckeras/export/network.py."
            )
    return Network(convolutions, norms, *head, own)


def _routed(weights, experts):
    count = len(weights.experts)
    bias = np.full(count, ALWAYS, np.float32)
    kernel = None
    if weights.router_kernel is not None:
        learned = np.asarray(weights.router_kernel)
        if learned.any():  # A settled task's is zero.
            kernel = np.zeros((learned.shape[0], count), np.float32)
            kernel[:, : weights.routed] = learned
        bias[: weights.routed] = np.asarray(weights.router_bias)
    elif weights.router_logits is not None:
        bias[: weights.routed] = np.asarray(weights.router_logits)
    arrays = [np.asarray(expert) for expert in weights.experts]
    return Convolution(dict(zip(experts, arrays, strict=True)), kernel, bias)
