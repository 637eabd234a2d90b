"""What networks answer on a task's images, and how many answers are right."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from cckeras.data.sources import Split
from cckeras.export.static import Input, StaticLayers, static_network

BATCH = 250
Answers = Callable[[np.ndarray], np.ndarray]


def keras_answers(model: keras.Model) -> Answers:
    """Return `images [N, H, W, 3] -> probabilities` of a Keras network."""

    def answer(images):
        logits = model.predict(images, BATCH, verbose=0)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))

    return answer


def static_answers(source: Input, layers: StaticLayers) -> Answers:
    """Return the same of a network with constant kernels."""
    classify = static_network(source, layers, batch=None)

    def answer(images):
        return np.concatenate(
            [
                classify(images[start : start + BATCH])["probabilities"]
                for start in range(0, len(images), BATCH)
            ]
        )

    return answer


def percent_right(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy in percent."""
    return 100 * float(np.mean(probabilities.argmax(-1) == labels))


def accuracy(answer: Answers, split: Split) -> float | None:
    """Return the accuracy in percent; None if there are no images."""
    if not len(split):
        return None
    return percent_right(answer(split.read_spread()), split.labels)
