"""Labelled images with random access, and seeded stratified splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cckeras.data.transforms import random_crops


class Images(Protocol):
    """Random access to images of one size."""

    def __len__(self) -> int: ...

    def read(self, indices) -> np.ndarray:
        """Return uint8 `[len(indices), H, W, 3]`."""

    def crops(self, indices, rng: np.random.Generator) -> np.ndarray:
        """Return random resized crops in place of the whole images."""

    def name(self, index) -> str:
        """Return what a person can find an image by."""


@dataclass(frozen=True)
class ArrayImages:
    """Images that are an array `[N, H, W, 3]` of uint8 in memory."""

    array: np.ndarray

    def __len__(self):
        return len(self.array)

    def read(self, indices):
        return self.array[indices]

    def crops(self, indices, rng):
        return random_crops(self.array[indices], rng)

    def name(self, index):
        return f"number {index}"


@dataclass(frozen=True)
class Split:
    """Images and their class numbers, int64 `[N]`."""

    images: Images
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def subset(self, indices) -> Split:
        """Return the images of these places, in this order."""
        return Split(Subset(self.images, indices), self.labels[indices])

    def sample(self, count: int) -> Split:
        """Return the split of `count` images spread evenly over this one, and
        of one image of each class that they lack."""
        places = self._spread(count)
        classes, firsts = np.unique(self.labels, return_index=True)
        lacking = ~np.isin(classes, self.labels[places])
        return self.subset(np.concatenate([places, firsts[lacking]]))

    def read_spread(self, count: int | None = None) -> np.ndarray:
        """Return images float32 `[n, H, W, 3]`, spread evenly over the split:
        `count` of them, all if there are not so many or it is None."""
        return self.images.read(self._spread(count)).astype(np.float32)

    def batches_spread(
        self, size: int, count: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield those images, at most `size` at a time."""
        places = self._spread(count)
        for start in range(0, len(places), size):
            part = self.images.read(places[start : start + size])
            yield part.astype(np.float32)

    def labels_spread(self, count: int | None = None) -> np.ndarray:
        """Return the labels `[n]` of those images."""
        return self.labels[self._spread(count)]

    def _spread(self, count):
        few = len(self) if count is None else min(count, len(self))
        return np.unique(np.linspace(0, len(self) - 1, few).astype(int))

    def fingerprint(self) -> str:
        """Return a SHA-256 that changes with the labels, the number of images
        or the pixels of a few of them."""
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).tobytes())
        if len(self):
            few = self.images.read(self._spread(8))
            digest.update(np.ascontiguousarray(few).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Subset:
    """Some of a source's images."""

    images: Images
    indices: np.ndarray

    def __len__(self):
        return len(self.indices)

    def read(self, indices):
        return self.images.read(self.indices[indices])

    def crops(self, indices, rng):
        return self.images.crops(self.indices[indices], rng)

    def name(self, index):
        return self.images.name(self.indices[index])


@dataclass(frozen=True)
class TaskData:
    """A task's classes and splits; `test` and `validation` may be empty.

    `augmentation` names the task's own transform, if not the recipe's;
    `framing` is how its pictures became squares, other than a middle square.
    """

    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    augmentation: str | None = None
    framing: dict = field(default_factory=dict)

    @classmethod
    def without_images(cls, classes, size: int) -> TaskData:
        """Return that of a task whose weights came without pictures.

        Args:
            classes: names.
            size: height and width of the images that there are none of.
        """
        images = ArrayImages(np.zeros((0, size, size, 3), np.uint8))
        none = Split(images, np.zeros(0, np.int64))
        return cls(tuple(classes), none, none, none)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the fingerprints of the three splits."""
        parts = [self.train, self.validation, self.test]
        text = "|".join(part.fingerprint() for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()


def stratified(labels, fraction: float, seed) -> tuple[np.ndarray, np.ndarray]:
    """Split places into (rest, chosen) with `fraction` of every class chosen.

    Of a class of two or more images at least one is chosen and one is left;
    a class of one image is left whole.

    Args:
        labels: int array `[N]`.
        fraction: share of every class, in 0..1.
        seed: integer, or list of integers.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        count = round(fraction * len(places))
        count = min(max(count, 1), len(places) - 1)
        chosen[places[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
