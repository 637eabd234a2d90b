"""digits5: real handwritten digits, five tasks of two classes, no download."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import ArrayImages, Split, TaskData, stratified

NAMES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)
TASKS = tuple(
    f"{NAMES[first]}_{NAMES[first + 1]}" for first in range(0, len(NAMES), 2)
)


def digits5(config, data_dir=None) -> Benchmark:
    """Return the benchmark: 1,797 grey 8x8 digits, enlarged to 16x16 RGB.

    The set is the test part of UCI's "Optical Recognition of Handwritten
    Digits", which scikit-learn brings. Test and validation are 25 % and 15 %
    of every class, by the configuration's `split_seed`.
    """
    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    enlarged = grey.repeat(2, axis=1).repeat(2, axis=2)
    images = np.repeat(enlarged[..., None], 3, axis=-1)

    def load(task: str) -> TaskData:
        first = 2 * TASKS.index(task)
        places = np.flatnonzero(digits.target // 2 == first // 2)
        labels = (digits.target[places] - first).astype(np.int64)
        split = Split(ArrayImages(images[places]), labels)
        seed = [config["split_seed"], first]
        rest, test = stratified(labels, 0.25, seed)
        train, validation = stratified(labels[rest], 0.2, seed)
        return TaskData(
            NAMES[first : first + 2],
            split.subset(rest[train]),
            split.subset(rest[validation]),
            split.subset(test),
        )

    return Benchmark("digits5", TASKS, load)
