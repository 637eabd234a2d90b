"""All tasks with image routing as one network that takes the task's index.

What differs between tasks (routers, norms, heads) is one row of a table; the
rest is the bank of experts.
"""

from __future__ import annotations

import tensorflow as tf

from cckeras.export.mixed import mixed_convolution
from cckeras.export.static import Input
from cckeras.export.tables import Tables


class ExactLayers:
    """The layers of the network whose task is a row of the table.

    Every image of LiteRT's batch of one has its own kernels.

    Args:
        tables: of the tasks.
        fields: what `Tables.read` says of the task.
    """

    def __init__(self, tables: Tables, fields: dict[str, tf.Tensor]):
        self.tables = tables
        self._fields = fields

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        del filters, kernel_size
        experts, _, _, channels, _ = self.tables.banks[name].shape
        pooled = tf.reshape(tf.reduce_mean(x, (1, 2)), (1, 1, channels))
        logits = tf.reshape(
            tf.matmul(pooled, self._fields[f"{name}/router_kernel"]),
            (1, experts),
        )
        if f"{name}/router_scale" in self._fields:
            logits = logits * self._fields[f"{name}/router_scale"]
        routing = tf.sigmoid(logits + self._fields[f"{name}/router_bias"])
        if f"{name}/expert_scale" in self._fields:
            routing = routing * self._fields[f"{name}/expert_scale"]
        return mixed_convolution(
            x, routing, self.tables.banks[name], strides, padding
        )

    def norm(self, x, *, name, epsilon=None):
        del epsilon
        scale, offset = (
            tf.reshape(self._fields[f"{name}/{part}"], (1, 1, 1, -1))
            for part in ("scale", "offset")
        )
        return x * scale + offset

    def probabilities(self, features):
        """Return `[1, classes]` from features `[1, F]`."""
        logits = tf.matmul(
            tf.reshape(features, (1, 1, -1)), self._fields["head/kernel"]
        )
        logits = tf.reshape(logits, (1, self.tables.classes))
        return tf.nn.softmax(logits + self._fields["head/bias"])


def exact_network(source: Input, tables: Tables):
    """Return the function `(image, task) -> probabilities`.

    `task` is int32 `[1]`, a row of the table: check it before, LiteRT does
    not on every platform.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec(
                (1, source.size, source.size, 3), tf.float32, "image"
            ),
            tf.TensorSpec((1,), tf.int32, "task"),
        ]
    )
    def classify(image, task):
        layers = ExactLayers(tables, tables.read(task))
        features = source.features(image, layers)
        return {"probabilities": layers.probabilities(features)}

    return classify
