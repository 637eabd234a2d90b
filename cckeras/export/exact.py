"""All tasks with image routing as one network that takes the task's index.

What differs between tasks (routers, norms, heads) is one row of a table; the
rest is the bank of experts.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cckeras.export.mixed import mixed_convolution
from cckeras.export.network import NEVER, Network
from cckeras.export.static import Input


class Tables:
    """The networks of some tasks as a bank and a table.

    Args:
        networks: `{task: Network}`.

    Attributes:
        experts: the tasks whose experts are in the bank, in order.
        banks: `{layer: [experts, kh, kw, Cin, Cout]}`.
        table: `[tasks, numbers]`, one row a task.
        fields: `{"layer/role": shape}`, what a row holds, in order.
        classes: the largest number of classes; the classes that a task lacks
            have the probability zero.
    """

    def __init__(self, networks: dict[str, Network]):
        self.experts = tuple(
            dict.fromkeys(
                expert
                for network in networks.values()
                for conv in network.convolutions.values()
                for expert in conv.experts
            )
        )
        self.classes = max(len(n.head_bias) for n in networks.values())
        kernels = {}
        for network in networks.values():
            for name, conv in network.convolutions.items():
                kernels.setdefault(name, {}).update(conv.experts)
        self.banks = {
            name: np.stack([own[expert] for expert in self.experts])
            for name, own in kernels.items()
        }
        rows = [self._row(network) for network in networks.values()]
        self.fields = {name: part.shape for name, part in rows[0].items()}
        self.table = np.stack(
            [np.concatenate([p.ravel() for p in row.values()]) for row in rows]
        )

    def _row(self, network):
        row = {}
        for name, conv in network.convolutions.items():
            columns = [self.experts.index(expert) for expert in conv.experts]
            channels = self.banks[name].shape[3]
            kernel = np.zeros((channels, len(self.experts)), np.float32)
            bias = np.full(len(self.experts), NEVER, np.float32)
            bias[columns] = conv.router_bias
            if not conv.constant:
                kernel[:, columns] = conv.router_kernel
            row[f"{name}/router_kernel"] = kernel
            row[f"{name}/router_bias"] = bias
        for name, norm in network.norms.items():
            row[f"{name}/scale"] = norm.scale
            row[f"{name}/offset"] = norm.offset
        features, classes = network.head_kernel.shape
        kernel = np.zeros((features, self.classes), np.float32)
        kernel[:, :classes] = network.head_kernel
        bias = np.full(self.classes, NEVER, np.float32)
        bias[:classes] = network.head_bias
        return {**row, "head/kernel": kernel, "head/bias": bias}


class ExactLayers:
    """The layers of the network whose task is a row of the table.

    Every image of LiteRT's batch of one has its own kernels.

    Args:
        tables: of the tasks.
        row: `[1, numbers]`, the task's row.
    """

    def __init__(self, tables: Tables, row):
        self.tables = tables
        self._row = row
        sizes = [int(np.prod(shape)) for shape in tables.fields.values()]
        self._starts = dict(
            zip(tables.fields, np.cumsum([0, *sizes[:-1]]), strict=True)
        )

    def conv(self, x, filters, kernel_size, *, strides=1, name):
        del filters, kernel_size
        experts, _, _, channels, _ = self.tables.banks[name].shape
        pooled = tf.reshape(tf.reduce_mean(x, (1, 2)), (1, 1, channels))
        routing = tf.sigmoid(
            tf.reshape(
                tf.matmul(pooled, self._field(f"{name}/router_kernel", 1)),
                (1, experts),
            )
            + self._field(f"{name}/router_bias")
        )
        return mixed_convolution(x, routing, self.tables.banks[name], strides)

    def norm(self, x, *, name):
        scale, offset = (
            tf.reshape(self._field(f"{name}/{part}"), (1, 1, 1, -1))
            for part in ("scale", "offset")
        )
        return x * scale + offset

    def probabilities(self, features):
        """Return `[1, classes]` from features `[1, F]`."""
        logits = tf.matmul(
            tf.reshape(features, (1, 1, -1)), self._field("head/kernel", 1)
        )
        logits = tf.reshape(logits, (1, self.tables.classes))
        return tf.nn.softmax(logits + self._field("head/bias"))

    def _field(self, name, axes=0):
        """Return a field of the row, `[1, n]`, or `[1, *shape]` with axes."""
        shape = self.tables.fields[name]
        part = tf.slice(
            self._row, (0, self._starts[name]), (1, int(np.prod(shape)))
        )
        return tf.reshape(part, (1, *shape)) if axes else part


def exact_network(source: Input, tables: Tables, half: bool = False):
    """Return the function `(image, task) -> probabilities`.

    `task` is int32 `[1]`, a row of the table: check it before, LiteRT does
    not on every platform. With `half` the table is stored as float16,
    disguised as int16, which no quantization touches: with one scale for
    routers, heads and the constants that switch experts off, int8 would leave
    nothing of it.
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
        if half:
            bits = tables.table.astype(np.float16).view(np.int16)
            row = tf.bitcast(tf.gather(tf.constant(bits), task), tf.float16)
            row = tf.cast(row, tf.float32)
        else:
            row = tf.gather(tf.constant(tables.table), task)
        layers = ExactLayers(tables, row)
        features = source.features(image, layers)
        return {"probabilities": layers.probabilities(features)}

    return classify
