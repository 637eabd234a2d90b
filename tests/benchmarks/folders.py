"""Folders of small pictures, laid out as a benchmark expects them."""

import numpy as np
from PIL import Image

SPLITS = ("train", "validation", "test")


def make_task(folder, classes, splits=SPLITS, count=3, size=(40, 30), seed=0):
    """Make `folder/SPLIT/CLASS/N.jpg`, pictures of noise."""
    rng = np.random.default_rng(seed)
    for split in splits:
        for name in classes:
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (*size[::-1], 3), np.uint8)
                Image.fromarray(pixels).save(target / f"{number}.jpg")
    return folder
