"""Image routing replaced by its mean over the task's training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cckeras.data.sources import Split
from cckeras.export.network import Network
from cckeras.export.static import (
    Estimating,
    Input,
    StaticLayers,
    static_network,
)

BATCH = 250
# Enough for a mean; the norms' statistics are taken from one such batch.
IMAGES = 1000


@dataclass(frozen=True)
class Folded:
    """A folded network and its accuracy (percent) on validation images, None
    without such images."""

    layers: StaticLayers
    norms_estimated: bool
    validation_accuracy: float | None


def constant_layers(network: Network) -> StaticLayers:
    """Return the layers of a network in which no image decides: exact."""
    kernels = {
        name: conv.mixed() for name, conv in network.convolutions.items()
    }
    return StaticLayers(network, kernels)


def fold(
    source: Input, network: Network, routing, train: Split, validation: Split
) -> Folded:
    """Fold every layer of a network.

    Its norms' statistics are estimated again, from training images, where
    that gives the better validation accuracy.

    Args:
        source: the network's input.
        network: the task's arrays.
        routing: `{layer: Keras model from image to routing weights [B, n]}`.
        train, validation: the task's images.
    """
    places = np.linspace(0, len(train) - 1, min(IMAGES, len(train)))
    images = train.images.read(places.astype(int)).astype(np.float32)
    kernels = {}
    for name, conv in network.convolutions.items():
        weights = None
        if not conv.constant:
            weights = routing[name].predict(images, BATCH, verbose=0).mean(0)
        kernels[name] = conv.mixed(weights)
    plain = StaticLayers(network, kernels)
    estimating = Estimating(network, kernels)
    source.features(images, estimating)
    renewed = StaticLayers(network, kernels, estimating.norms)
    accuracies = [
        accuracy(source, layers, validation) for layers in (plain, renewed)
    ]
    better = int((accuracies[1] or 0) > (accuracies[0] or 0))
    return Folded((plain, renewed)[better], bool(better), accuracies[better])


def accuracy(source: Input, layers: StaticLayers, split: Split) -> float | None:
    """Return the accuracy of a static network in percent; None if there are
    no images."""
    if not len(split):
        return None
    classify = static_network(source, layers, batch=None)
    right = 0
    for start in range(0, len(split), BATCH):
        places = np.arange(start, min(start + BATCH, len(split)))
        images = split.images.read(places).astype(np.float32)
        answers = classify(images)["probabilities"].numpy().argmax(-1)
        right += int((answers == split.labels[places]).sum())
    return 100 * right / len(split)
