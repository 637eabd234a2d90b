"""Image routing of one convolution, reduced to a few directions.

The routing weights of a task's images are replaced by their mean and their
components along the principal directions of those of its training images. The
kernels are mixed along them beforehand: an image then weighs few kernels
instead of every expert. With all directions it is exact.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cckeras.export.banks import whole_numbers
from cckeras.export.mixed import convolution, mixed_convolution
from cckeras.export.network import Convolution


@dataclass(frozen=True)
class LowRank:
    """A convolution whose kernel is `bank[0] + sum_j c_j bank[j]`.

    Args:
        bank: `[m + 1, kh, kw, Cin, Cout]`, the mean's kernel first.
        router_kernel, router_bias: `[Cin, n]` and `[n]`, of the task.
        directions: `[n, m + 1]`.
        offset: `[m + 1]`: the kernels' weights are
            `routing weights @ directions + offset`. Reduced, the first column
            of directions is zero and the first weight is one.
    """

    bank: np.ndarray
    router_kernel: np.ndarray
    router_bias: np.ndarray
    directions: np.ndarray
    offset: np.ndarray

    def quantized(self) -> LowRank:
        """Return this with a bank of whole numbers within 127."""
        bank, scales = whole_numbers(self.bank)
        return dataclasses.replace(
            self,
            bank=bank,
            directions=self.directions * scales,
            offset=self.offset * scales,
        )

    @property
    def rank(self) -> int:
        """The number of directions, m."""
        return len(self.bank) - 1

    def convolution(self, x, strides: int, padding: str = "same"):
        """Return `[B, H', W', Cout]` of images `[B, H, W, Cin]`.

        One image is computed as LiteRT does it best, several by m + 1
        convolutions.
        """
        pooled = tf.reduce_mean(x, (1, 2))
        routing = tf.sigmoid(
            tf.matmul(pooled, tf.constant(self.router_kernel))
            + tf.constant(self.router_bias)
        )
        weights = tf.matmul(routing, tf.constant(self.directions))
        weights = weights + tf.constant(self.offset)
        if x.shape[0] == 1:
            return mixed_convolution(x, weights, self.bank, strides, padding)
        return sum(
            weights[:, j, None, None, None]
            * convolution(x, kernel, strides, padding)
            for j, kernel in enumerate(self.bank)
        )


def every_expert(conv: Convolution) -> LowRank:
    """Return a convolution with image routing as it is: a direction is an
    expert."""
    bank = np.stack(list(conv.experts.values()))
    return LowRank(
        bank,
        conv.router_kernel,
        conv.router_bias,
        np.eye(len(bank), dtype=np.float32),
        np.zeros(len(bank), np.float32),
    )


def reduced(conv: Convolution, weights: np.ndarray, rank: int) -> LowRank:
    """Reduce a convolution's routing to some principal directions.

    Args:
        conv: with image routing over n experts.
        weights: routing weights of training images, `[N, n]`.
        rank: number of directions; n at most are taken.
    """
    weights = weights.astype(np.float64)
    mean = weights.mean(0)
    covariance = np.cov(weights, rowvar=False, bias=True)
    _, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    principal = vectors[:, ::-1][:, :rank]
    directions = np.pad(principal, ((0, 0), (1, 0)))
    offset = -mean @ directions
    offset[0] = 1
    mixtures = directions.copy()
    mixtures[:, 0] = mean
    bank = np.stack([conv.mixed(column) for column in mixtures.T])
    return LowRank(
        bank,
        conv.router_kernel,
        conv.router_bias,
        directions.astype(np.float32),
        offset.astype(np.float32),
    )
