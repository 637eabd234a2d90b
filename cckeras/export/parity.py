"""The gate: no exported file exists that was not compared with Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cckeras.data.sources import Split
from cckeras.export.answers import Answers, keras_answers, percent_right
from cckeras.export.runtime import ExportedTasks

TOLERANCE = 1e-4
# Also computed with these (threads, XNNPACK); for fewer images.
SETTINGS = ((4, True), (1, False), (4, False))
FEW = 8


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

    def compare(
        self,
        task: str,
        reference: Answers,
        model: keras.Model,
        split: Split,
        instead: np.ndarray | None = None,
    ) -> Parity:
        """Compare a task's answers on all images of a split.

        Images are taken in turn: a runtime that kept the first one's kernels
        (tensorflow issue 31205) would be caught by the second.

        Args:
            task: its name.
            reference: what the signature is to compute.
            model: the task's Keras network, for its accuracy.
            split: the task's test images.
            instead: images `[n, H, W, 3]` to compare on if there are none.
        """
        images = split.read_spread()
        if not len(split):
            if instead is None:
                return Parity(0, 0.0, None, None)
            images = instead
        expected = reference(images)
        answers = np.stack(
            [self.first.probabilities(task, image) for image in images]
        )
        differences = [np.abs(answers - expected).max()]
        for other in self.others:
            few = [other.probabilities(task, image) for image in images[:FEW]]
            differences.append(np.abs(np.stack(few) - expected[:FEW]).max())
        difference = float(np.max(differences))  # NaN if one of them is.
        if not len(split):
            return Parity(len(images), difference, None, None)
        return Parity(
            len(images),
            difference,
            percent_right(answers, split.labels),
            percent_right(keras_answers(model)(images), split.labels),
        )
