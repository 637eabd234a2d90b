"""`MaskedOptimizer`: groups with rules of their own, and masked updates."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops


@dataclass(frozen=True)
class OptimizerGroup:
    """The variables whose path matches, and the rule that updates them.

    Args:
        pattern: regular expression, searched in a variable's `path`. The
            first group that matches takes the variable.
        optimizer: a Keras optimizer of this group's own.
        l2: coupled decay, `gradient + l2 * variable` before momentum (the
            published kind; Keras' `weight_decay` is the decoupled kind).
    """

    pattern: str
    optimizer: keras.optimizers.Optimizer
    l2: float = 0.0


@keras.saving.register_keras_serializable(package="cckeras")
class MaskedOptimizer(keras.optimizers.Optimizer):
    """Updates groups of variables and leaves masked elements as they were.

    The mask is applied to the update, after momentum and decay, so nothing
    can leak into an element that another task owns (methods.md 3.3).

    Args:
        groups: list of `OptimizerGroup`.
        masks: `{variable path: 0/1 array of its shape}`; a variable without
            one is updated whole.
    """

    def __init__(self, groups, masks=None, name="masked_optimizer"):
        super().__init__(learning_rate=0.0, name=name)
        self.groups = list(groups)
        self.masks = {
            path: np.asarray(mask, bool) for path, mask in (masks or {}).items()
        }

    def build(self, variables):
        if self.built:
            return
        unknown = sorted(set(self.masks) - {v.path for v in variables})
        if unknown:
            raise ValueError(
                "Expected masks of variables that are trained. Received: "
                f"masks={unknown}, which match no variable's path."
            )
        self._members = [[] for _ in self.groups]
        for index, variable in enumerate(variables):
            self._members[self._group_of(variable)].append(index)
        for group, members in zip(self.groups, self._members, strict=True):
            group.optimizer.build([variables[index] for index in members])
        super().build(variables)

    @property
    def variables(self):
        inner = [v for group in self.groups for v in group.optimizer.variables]
        return [*self._variables, *inner]

    @property
    def learning_rate(self):
        """The first group's learning rate (what Keras' callbacks show)."""
        return self.groups[0].optimizer.learning_rate

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        self.build(list(variables))
        grads = list(grads)
        for group, members in zip(self.groups, self._members, strict=True):
            if members:
                self._apply_group(
                    group,
                    [grads[index] for index in members],
                    [variables[index] for index in members],
                )
        self._iterations.assign_add(1)

    def _apply_group(self, group, grads, variables):
        if group.l2:
            decay = group.l2 / _replicas()
            grads = [
                gradient + decay * ops.cast(variable, gradient.dtype)
                for gradient, variable in zip(grads, variables, strict=True)
            ]
        before = {
            variable.path: ops.copy(variable.value)
            for variable in variables
            if variable.path in self.masks
        }
        group.optimizer.apply(grads, variables)
        for variable in variables:
            if variable.path in before:
                mask = self.masks[variable.path]
                variable.assign(
                    ops.where(mask, variable.value, before[variable.path])
                )

    def _group_of(self, variable):
        for index, group in enumerate(self.groups):
            if re.search(group.pattern, variable.path):
                return index
        raise ValueError(
            "Expected a group for every variable. Received: "
            f"{variable.path!r}, which matches none of "
            f"{[group.pattern for group in self.groups]}. Add a group."
        )

    def get_config(self):
        return {
            "name": self.name,
            "groups": [
                {
                    "pattern": group.pattern,
                    "l2": group.l2,
                    "optimizer": keras.optimizers.serialize(group.optimizer),
                }
                for group in self.groups
            ],
            "masks": {path: _pack(mask) for path, mask in self.masks.items()},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        groups = [
            OptimizerGroup(
                group["pattern"],
                keras.optimizers.deserialize(
                    group["optimizer"], custom_objects
                ),
                group["l2"],
            )
            for group in config["groups"]
        ]
        masks = {path: _unpack(mask) for path, mask in config["masks"].items()}
        return cls(groups, masks, name=config["name"])


def _replicas():
    """Return over how many devices of TensorFlow's strategy gradients, and so
    the decay in them, are added up."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _pack(mask):
    """Return a mask as plain data of one bit an element."""
    bits = base64.b64encode(np.packbits(mask)).decode()
    return {"shape": list(mask.shape), "bits": bits}


def _unpack(packed):
    bits = np.frombuffer(base64.b64decode(packed["bits"]), np.uint8)
    flat = np.unpackbits(bits, count=math.prod(packed["shape"]))
    return flat.astype(bool).reshape(packed["shape"])
