"""The networks of all tasks with image routing as one bank and one table."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cckeras.export.banks import whole_numbers
from cckeras.export.network import NEVER, Network, Norm
from cckeras.export.stored import float16_rows, float32_rows


class Tables:
    """The networks of some tasks as a bank and a table.

    Args:
        networks: `{task: Network}`.

    Attributes:
        experts: the tasks whose experts are in the bank, in order.
        banks: `{layer: [experts, kh, kw, Cin, Cout]}`.
        table: `[tasks, numbers]`, one row a task: its fields, in order.
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
        self._store([self._row(network) for network in networks.values()])

    def read(self, task) -> dict[str, tf.Tensor]:
        """Return the fields of a task, `[1]` its row: `[1, *shape]` each."""
        return parts(float32_rows(self.table, task), self.fields)

    def _store(self, rows):
        self.table, self.fields = joined(rows)

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
        return row | norms_and_head(network, network.norms, self.classes)


class HalfTables(Tables):
    """A table in float16."""

    def read(self, task):
        return parts(float16_rows(self.table, task), self.fields)


class ByteTables(HalfTables):
    """Banks of whole numbers (`banks.with_one_scale`), and routers as bytes,
    with a scale a layer and task."""

    def read(self, task):
        row = tf.cast(tf.gather(tf.constant(self._bytes), task), tf.float32)
        return {**super().read(task), **parts(row, self._routers)}

    def _store(self, rows):
        for name, bank in self.banks.items():
            self.banks[name], scales = whole_numbers(bank)
            for row in rows:
                router = row[f"{name}/router_kernel"]
                whole, scale = whole_numbers(router[None])
                row[f"{name}/router_kernel"] = whole[0]
                row[f"{name}/router_scale"] = scale
                row[f"{name}/expert_scale"] = scales
        routers = [
            {n: row.pop(n) for n in list(row) if n.endswith("/router_kernel")}
            for row in rows
        ]
        super()._store(rows)
        table, self._routers = joined(routers)
        self._bytes = table.astype(np.int8)


TABLES = {
    "none": Tables,
    "float16": HalfTables,
    "int8_weights": ByteTables,
}


def norms_and_head(
    network: Network, norms: dict[str, Norm], classes: int
) -> dict[str, np.ndarray]:
    """Return the fields of a network's norms and of its head.

    Args:
        network: the task's arrays.
        norms: its norms, or others in their place.
        classes: what the head is padded to; those added have probability zero.
    """
    row = {}
    for name, norm in norms.items():
        row[f"{name}/scale"] = norm.scale
        row[f"{name}/offset"] = norm.offset
    features, own = network.head_kernel.shape
    kernel = np.zeros((features, classes), np.float32)
    kernel[:, :own] = network.head_kernel
    bias = np.full(classes, NEVER, np.float32)
    bias[:own] = network.head_bias
    return {**row, "head/kernel": kernel, "head/bias": bias}


def joined(rows: list[dict[str, np.ndarray]]):
    """Return a table `[tasks, numbers]` of the tasks' fields, and
    `{field: shape}`."""
    table = [
        np.concatenate([part.ravel() for part in row.values()]) for row in rows
    ]
    fields = {name: part.shape for name, part in rows[0].items()}
    return np.stack(table), fields


def parts(rows, fields: dict[str, tuple[int, ...]]) -> dict[str, tf.Tensor]:
    """Return the fields `[k, *shape]` of rows `[k, numbers]` of a table."""
    start, found = 0, {}
    for name, shape in fields.items():
        size = int(np.prod(shape))
        part = tf.slice(rows, (0, start), (rows.shape[0], size))
        found[name] = tf.reshape(part, (rows.shape[0], *shape))
        start += size
    return found
