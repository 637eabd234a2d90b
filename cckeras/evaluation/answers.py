"""What each task's network says of images: logits and features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from cckeras.runs.gate import Gate
from cckeras.runs.statistics import Statistics


class Answers(NamedTuple):
    """What one task's network says of N images.

    Args:
        logits: `[N, classes]`.
        features: `[N, F]`.
        gate: `[N, classes]`, logarithms of the probabilities that a gate over
            all tasks gives its classes, or None.
        temperature: by which its logits are to be divided.
    """

    logits: np.ndarray
    features: np.ndarray
    gate: np.ndarray | None = None
    temperature: float = 1.0

    def rows(self, start: int, stop: int) -> Answers:
        """Return the answers for some of the images."""
        gate = self.gate
        return self._replace(
            logits=self.logits[start:stop],
            features=self.features[start:stop],
            gate=None if gate is None else gate[start:stop],
        )


def answering_model(model: keras.Model) -> keras.Model:
    """Return a model with the outputs logits and features."""
    features = model.get_layer("head").input
    answering = keras.Model(model.input, [model.output, features])
    on_tensorflow = keras.backend.backend() == "tensorflow"
    answering.compile(jit_compile=False if on_tensorflow else "auto")
    return answering


def informed(
    answers: Sequence[Answers],
    statistics: Sequence[Statistics],
    gate: Gate,
    scores: np.ndarray,
) -> list[Answers]:
    """Return the answers of all tasks with what their statistics tell.

    Args:
        answers: of every task, in order.
        statistics: theirs.
        gate: made of these.
        scores: its scores of the images, `[N, C]`.
    """
    return [
        own._replace(gate=part, temperature=float(task.temperature))
        for own, task, part in zip(
            answers, statistics, gate.by_task(scores), strict=True
        )
    ]


def answer(answering: keras.Model, batches: Iterable) -> Answers:
    """Run batches of images float32 `[B, H, W, 3]` through a network."""
    parts = [answering.predict_on_batch(images) for images in batches]
    return Answers(*(np.concatenate(part) for part in zip(*parts, strict=True)))
