"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of every network."""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple


class ImageNetClass(NamedTuple):
    """A class: its WordNet number, as `n01440764`, and its first name there."""

    wordnet: str
    name: str


@functools.cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return all classes, sorted by WordNet number; no name is there twice."""
    table = resources.files(__package__).joinpath("imagenet_classes.tsv")
    lines = table.read_text("utf-8").splitlines()
    return tuple(ImageNetClass(*line.split("\t")) for line in lines)


def imagenet_names() -> tuple[str, ...]:
    """Return the names of all classes."""
    return tuple(one.name for one in imagenet_classes())
