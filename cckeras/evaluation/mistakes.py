"""The test pictures of which a run is most certain, and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.pipeline import evaluation_batches, evaluation_steps
from cckeras.evaluation.answers import answer, answering_model
from cckeras.evaluation.task_free import probabilities
from cckeras.methods.base import Method

MOST = 6


class Mistake(NamedTuple):
    """A picture uint8 `[H, W, 3]`, what it is called, the class that it was
    taken for, with which probability, and its own class."""

    picture: np.ndarray
    name: str
    said: str
    probability: float
    truth: str


def confident_mistakes(
    method: Method,
    benchmark: Benchmark,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, list[Mistake]]:
    """Return the most confident mistakes on each task's test images, the most
    confident first; the task is given.

    Tasks without test images, or without a mistake, are left out.
    """
    found = {}
    for name in method.tasks:
        if name not in benchmark.tasks:
            continue
        data = benchmark.load(name)
        if not len(data.test):
            continue
        progress(f"looking for mistakes in {name}")
        batches = iter(evaluation_batches(data.test))
        images = (next(batches)[0] for _ in range(evaluation_steps(data.test)))
        answers = answer(answering_model(method.task_model(name)), images)
        mistakes = _worst(probabilities(answers.logits), data)
        if mistakes:
            found[name] = mistakes
    return found


def _worst(shares, data):
    said, labels = shares.argmax(1), data.test.labels
    wrong = np.flatnonzero(said != labels)
    order = np.argsort(-shares[wrong, said[wrong]], kind="stable")
    worst = wrong[order[:MOST]]
    pictures = data.test.images.read(worst)
    return [
        Mistake(
            picture,
            data.test.images.name(place),
            data.classes[said[place]],
            float(shares[place, said[place]]),
            data.classes[labels[place]],
        )
        for place, picture in zip(worst, pictures, strict=True)
    ]
