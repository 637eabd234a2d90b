"""The gate: no exported file exists that was not compared with Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cckeras.data.sources import Split
from cckeras.export.runtime import ExportedTasks

TOLERANCE = 1e-4
# Also computed with these (threads, XNNPACK); for fewer images.
SETTINGS = ((4, True), (1, False), (4, False))
FEW = 8
BATCH = 250


@dataclass(frozen=True)
class Parity:
    """How a task's signature compares with the Keras network.

    Args:
        images: how many test images.
        difference: the largest of a probability, over images and settings.
        accuracy, keras_accuracy: percent, None without images.
    """

    images: int
    difference: float
    accuracy: float | None
    keras_accuracy: float | None


class Opened:
    """An exported file, opened in every setting."""

    def __init__(self, path: Path):
        self.first = ExportedTasks(path)
        self.others = [ExportedTasks(path, *setting) for setting in SETTINGS]

    def compare(self, task: str, reference, model, split: Split) -> Parity:
        """Compare a task's answers on all images of a split.

        Images are taken in turn: a runtime that kept the first one's kernels
        (tensorflow issue 31205) would be caught by the second.

        Args:
            task: its name.
            reference: `images -> probabilities`, what the signature is to
                compute.
            model: the task's Keras network, for its accuracy.
            split: the task's test images, in 0..255.
        """
        images = split.images.read(np.arange(len(split))).astype(np.float32)
        if not len(images):
            return Parity(0, 0.0, None, None)
        expected = reference(images)
        answers = np.stack(
            [self.first.probabilities(task, image) for image in images]
        )
        difference = np.abs(answers - expected).max()
        for other in self.others:
            for image, wanted in zip(images[:FEW], expected, strict=False):
                got = other.probabilities(task, image)
                difference = max(difference, np.abs(got - wanted).max())
        # NaN is larger than any tolerance: it must not compare as equal.
        if not np.isfinite(answers).all():
            difference = np.inf
        logits = model.predict(images, BATCH, verbose=0)
        return Parity(
            len(images),
            float(difference),
            _percent(answers, split.labels),
            _percent(logits, split.labels),
        )


def keras_probabilities(model: keras.Model):
    """Return the function `images -> probabilities` of a Keras network."""

    def probabilities(images):
        logits = model.predict(images, BATCH, verbose=0)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))

    return probabilities


def _percent(scores, labels):
    return 100 * float(np.mean(scores.argmax(-1) == labels))
