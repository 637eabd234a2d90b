"""A task's network with constant kernels, or mixed from few of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cckeras.backbones import backbone
from cckeras.export.low_rank import LowRank
from cckeras.export.mixed import convolution
from cckeras.export.network import Network, Norm


@dataclass(frozen=True)
class Input:
    """What a network takes: `size` x `size` RGB in 0..255, and the
    statistics per channel that it normalises by."""

    backbone: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, config) -> Input:
        """Return that of a run's configuration."""
        return cls(
            config["backbone"],
            config["image_size"],
            tuple(config["mean"]),
            tuple(config["std"]),
        )

    def features(self, images, layers):
        """Return what the backbone makes of images in 0..255."""
        std = np.asarray(self.std, np.float32)
        mean = np.asarray(self.mean, np.float32)
        x = images * tf.constant(1 / (255 * std)) - tf.constant(mean / std)
        return backbone(self.backbone)(x, layers)


class StaticLayers:
    """The layers of a network that shares nothing with other tasks'.

    Args:
        network: the task's arrays.
        kernels: `{layer: [kh, kw, Cin, Cout]}` of the banks, or `LowRank`
            where an image decides on the kernel.
        norms: `{layer: Norm}`, those of the network if None.
    """

    def __init__(
        self,
        network: Network,
        kernels: dict[str, np.ndarray | LowRank],
        norms: dict[str, Norm] | None = None,
    ):
        self.network = network
        self.kernels = {**network.own, **kernels}
        self.norms = norms or network.norms

    def quantized(self) -> StaticLayers:
        """Return these with the banks of such layers as whole numbers."""
        kernels = {
            name: kernel.quantized() if name in self.ranks else kernel
            for name, kernel in self.kernels.items()
        }
        return StaticLayers(self.network, kernels, self.norms)

    @property
    def ranks(self) -> dict[str, int]:
        """The number of directions of the layers where an image decides."""
        return {
            name: kernel.rank
            for name, kernel in self.kernels.items()
            if isinstance(kernel, LowRank)
        }

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        del filters, kernel_size
        kernel = self.kernels[name]
        if isinstance(kernel, LowRank):
            return kernel.convolution(x, strides, padding)
        return convolution(x, kernel, strides, padding)

    own_conv = conv

    def depthwise(self, x, kernel_size, *, strides=1, name):
        del kernel_size
        kernel = tf.constant(self.kernels[name])
        steps = (1, strides, strides, 1)
        return tf.nn.depthwise_conv2d(x, kernel, steps, "SAME")

    def norm(self, x, *, name, epsilon=None):
        del epsilon
        norm = self.norms[name]
        return x * tf.constant(norm.scale) + tf.constant(norm.offset)

    def probabilities(self, features):
        """Return `[B, classes]` from features `[B, F]`."""
        return tf.nn.softmax(
            tf.matmul(features, tf.constant(self.network.head_kernel))
            + tf.constant(self.network.head_bias)
        )


class Estimating(StaticLayers):
    """Run eagerly, it replaces each norm's statistics by those of the images
    that pass through, as constant kernels make them."""

    def __init__(self, network, kernels):
        super().__init__(network, kernels, dict(network.norms))

    def norm(self, x, *, name, epsilon=None):
        old = self.norms[name]
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        self.norms[name] = Norm(
            old.gamma, old.beta, mean.numpy(), variance.numpy(), old.epsilon
        )
        return super().norm(x, name=name)


def static_network(source: Input, layers: StaticLayers, batch: int | None = 1):
    """Return the function `image -> probabilities` for TensorFlow's export."""

    @tf.function(
        input_signature=[
            tf.TensorSpec(
                (batch, source.size, source.size, 3), tf.float32, "image"
            )
        ]
    )
    def classify(image):
        features = source.features(image, layers)
        return {"probabilities": layers.probabilities(features)}

    return classify
