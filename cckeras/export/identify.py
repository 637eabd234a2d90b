"""The signature without a task: a gate names the likeliest tasks, and their
networks with constant kernels answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.export.depthwise import run_time_depthwise
from cckeras.export.folding import constant_layers
from cckeras.export.forms import Form, plain_layers
from cckeras.export.gate import Gate
from cckeras.export.mixed import run_time_convolution
from cckeras.export.network import read_network
from cckeras.export.static import Input, StaticLayers
from cckeras.export.stored import float16_rows, float32_rows, int8_rows
from cckeras.export.tables import joined, norms_and_head, parts
from cckeras.methods.base import Method
from cckeras.runs.run import Run
from cckeras.runs.statistics import gate_of, run_statistics

SIGNATURE = "identify"
CANDIDATES = 2
# By quantization: how kernels are stored, and how norms and heads are.
STORED = {
    "none": (float32_rows, float32_rows),
    "float16": (float16_rows, float16_rows),
    "int8_weights": (int8_rows, float16_rows),
}


@dataclass(frozen=True)
class Finder:
    """What finds the task of an image.

    Args:
        gate: scores all classes.
        layers: `{task: its network with constant kernels}`.
    """

    gate: Gate
    layers: dict[str, StaticLayers]

    @classmethod
    def fit(
        cls,
        source: Input,
        run: Run,
        method: Method,
        forms: dict[str, Form],
        data: dict[str, TaskData],
    ) -> Finder:
        """Return one for tasks in any form.

        Args:
            source: the networks' input.
            run: the opened run.
            method: holds the networks of the tasks, and of the run's first.
            forms: `{task: its form}`.
            data: `{task: its images}`.

        Raises:
            InputError: if training images are needed that there are not: to
                fold a task, or for the statistics that an old run lacks.
        """
        statistics = run_statistics(run, method, data.get)
        for name in forms:
            if name not in statistics:
                raise InputError(
                    "Expected statistics of every task for --identify. "
                    f"Received: none of {name!r}, and no training images. Give "
                    "--data_dir, as in training, or leave it out by --tasks=."
                )
        gate = gate_of([statistics[name] for name in forms])
        layers = {
            name: plain_layers(source, method, name, form, data[name])
            for name, form in forms.items()
        }
        first = run.records[0]["name"]
        looking = constant_layers(read_network(method, first))
        return cls(Gate(source, looking, gate), layers)

    def network(self, quantization: str):
        """Return the function `image -> task, class, probability`."""
        stack = Stack(list(self.layers.values()), quantization)
        return identify_network(self.gate, stack)


class Stack:
    """The networks of all tasks, with constant kernels, to be read by index.

    Args:
        layers: of every task's network.
        quantization: of `cckeras.names.QUANTIZATIONS`, but not `int8`.

    Attributes:
        classes: the largest number of classes; a task's other ones have
            probability zero.
    """

    def __init__(self, layers: list[StaticLayers], quantization: str = "none"):
        self.classes = max(len(own.network.head_bias) for own in layers)
        self._kernels = {
            name: np.stack([own.kernels[name] for own in layers])
            for name in layers[0].kernels
        }
        self._table, self._fields = joined(
            [
                norms_and_head(own.network, own.norms, self.classes)
                for own in layers
            ]
        )
        self._read_kernels, self._read_fields = STORED[quantization]

    def read(self, tasks: tf.Tensor) -> CandidateLayers:
        """Return the layers of some tasks, `[k]` their numbers."""
        fields = parts(self._read_fields(self._table, tasks), self._fields)
        return CandidateLayers(self, tasks, fields)

    def kernel(self, name: str, rows: slice, tasks: tf.Tensor) -> tf.Tensor:
        """Return some rows of the tasks' kernels, `[k, rows * kw * Cin, Cout]`."""
        part = self._kernels[name][:, rows]
        chosen = self._read_kernels(part.reshape(len(part), -1), tasks)
        return tf.reshape(chosen, (tasks.shape[0], -1, part.shape[-1]))

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """Return the shape of a layer's kernel."""
        return self._kernels[name].shape[1:]


class CandidateLayers:
    """The layers of k tasks at once: each answers for one image of the batch.

    Args:
        stack: of all tasks.
        tasks: the numbers of these, `[k]`.
        fields: `{"layer/role": [k, ...]}`, their norms and heads.
    """

    def __init__(self, stack: Stack, tasks: tf.Tensor, fields):
        self._stack, self._tasks, self._fields = stack, tasks, fields

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        del filters, kernel_size
        return run_time_convolution(
            x,
            self._stack.shape(name),
            lambda rows: self._stack.kernel(name, rows, self._tasks),
            strides,
            padding,
        )

    own_conv = conv

    def depthwise(self, x, kernel_size, *, strides=1, name):
        kernels = self._stack.kernel(name, slice(None), self._tasks)
        taps = tf.reshape(kernels, (x.shape[0], -1, x.shape[-1]))
        return run_time_depthwise(x, taps, kernel_size, strides)

    def norm(self, x, *, name, epsilon=None):
        del epsilon
        scale, offset = (
            self._fields[f"{name}/{part}"][:, None, None]
            for part in ("scale", "offset")
        )
        return x * scale + offset

    def log_probabilities(self, features):
        """Return `[k, classes]` from features `[k, F]`."""
        logits = tf.matmul(features[:, None], self._fields["head/kernel"])
        return tf.nn.log_softmax(logits[:, 0] + self._fields["head/bias"])


def identify_network(gate: Gate, stack: Stack):
    """Return the function `image -> task, class, probability`, `[1]` each.

    The candidates are the tasks whose classes are likeliest together by the
    gate. A class has its probability by the gate times that within its task;
    the largest wins, in proportion to all classes of the candidates.
    """
    source = gate.source
    candidates = min(CANDIDATES, len(gate.numbers.counts))

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, source.size, source.size, 3), tf.float32, "image")
        ]
    )
    def identify(image):
        scores = gate.by_task(gate.scores(image))
        _, tasks = tf.math.top_k(_logsumexp(scores), candidates)
        layers = stack.read(tasks)
        features = source.features(tf.concat([image] * candidates, 0), layers)
        joint = tf.gather(scores, tasks) + layers.log_probabilities(features)
        joint = tf.nn.softmax(tf.reshape(joint, (1, -1)))
        best = tf.argmax(joint, 1, tf.int32)
        return {
            "task": tf.gather(tasks, best // stack.classes),
            "class": best % stack.classes,
            "probability": tf.reduce_max(joint, 1),
        }

    return identify


def _logsumexp(scores):
    # TensorFlow's own looks for infinities, which no LiteRT operator does.
    largest = tf.reduce_max(scores, 1, keepdims=True)
    return (
        tf.math.log(tf.reduce_sum(tf.exp(scores - largest), 1)) + largest[:, 0]
    )
