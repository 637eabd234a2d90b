"""Multiply-adds of one image through a task's network."""

from __future__ import annotations

import math

import keras

from cckeras.layers.task_conv import TaskConv2D


def multiply_adds(model: keras.Model) -> int:
    """Count convolutions and dense layers, with routing and kernel mixing.

    Mixing per image costs one multiply-add for every element of every expert
    that is routed; a task's constant kernel is mixed once and costs nothing.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(
            layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D
        ):
            total += _pixels(layer) * math.prod(layer.kernel.shape)
        elif isinstance(layer, TaskConv2D):
            weights = layer.weights_in_use
            kernel = math.prod(weights.experts[0].shape)
            total += _pixels(layer) * kernel
            if weights.router_kernel is not None:
                total += len(weights.experts) * kernel
                total += math.prod(weights.router_kernel.shape)
    return total


def _pixels(layer):
    _, height, width, _ = layer.output.shape
    return height * width
