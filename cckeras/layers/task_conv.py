"""`TaskConv2D`: one task's view of a growable kernel bank."""

from __future__ import annotations

import keras
from keras import ops

from cckeras.layers.routing import (
    TaskWeights,
    routed_convolution,
    routing_weights,
)


class TaskConv2D(keras.layers.Layer):
    """One task's view of a `CondConv2D`, made by `CondConv2D.for_task`.

    It shares the bank's variables and holds only those that its task uses, so
    a model made of views neither carries nor depends on any other task.

    Args:
        bank: the `CondConv2D`.
        task: a task that the bank was grown for.
        name: of the layer.
    """

    def __init__(self, bank, task: str, name: str):
        super().__init__(name=name, dtype=bank.dtype_policy)
        self.task = task
        self._shape = bank.compute_output_shape
        self._geometry = bank.geometry
        weights = bank.weights_of(task)
        # One attribute each: Keras tracks lists and variables, but TensorFlow
        # would rewrap a named tuple that holds them.
        self._own_weight = weights.own_weight
        self._experts = list(weights.experts)
        self._router_kernel = weights.router_kernel
        self._router_bias = weights.router_bias
        self._router_logits = weights.router_logits
        self._bias = weights.bias
        self.built = True

    def call(self, inputs):
        return routed_convolution(inputs, self.weights_in_use, self._geometry)

    @property
    def weights_in_use(self) -> TaskWeights:
        """The task's variables, by role."""
        return TaskWeights(
            tuple(self._experts),
            self._router_kernel,
            self._router_bias,
            self._router_logits,
            self._bias,
            self._own_weight,
        )

    def routing_weights(self, inputs):
        """Return the routing weights `[B, n]` or `[n]`, None if fixed at one."""
        if self._geometry.data_format == "channels_first":
            inputs = ops.transpose(inputs, (0, 2, 3, 1))
        return routing_weights(inputs, self.weights_in_use)

    def compute_output_shape(self, input_shape):
        return self._shape(input_shape)
