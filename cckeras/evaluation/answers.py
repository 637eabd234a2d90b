"""What each task's network says of images: logits and features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np


class Answers(NamedTuple):
    """One task's `logits [N, classes]`, `features [N, F]` for N images, and
    `gate [N]`, what a gate over all tasks scores it, or None."""

    logits: np.ndarray
    features: np.ndarray
    gate: np.ndarray | None = None

    def rows(self, start: int, stop: int) -> Answers:
        """Return the answers for some of the images."""
        parts = (p if p is None else p[start:stop] for p in self)
        return Answers(*parts)


def answering_model(model: keras.Model) -> keras.Model:
    """Return a model with the outputs logits and features."""
    features = model.get_layer("head").input
    answering = keras.Model(model.input, [model.output, features])
    on_tensorflow = keras.backend.backend() == "tensorflow"
    answering.compile(jit_compile=False if on_tensorflow else "auto")
    return answering


def gated(answers: list[Answers], scores: np.ndarray) -> list[Answers]:
    """Return the answers of all tasks with a gate's scores `[N, tasks]`."""
    return [
        own._replace(gate=scores[:, place]) for place, own in enumerate(answers)
    ]


def answer(answering: keras.Model, batches: Iterable) -> Answers:
    """Run batches of images float32 `[B, H, W, 3]` through a network."""
    parts = [answering.predict_on_batch(images) for images in batches]
    return Answers(*(np.concatenate(part) for part in zip(*parts, strict=True)))
