"""Image routing replaced by its mean over the task's training images."""

from __future__ import annotations

from dataclasses import dataclass

from cckeras.data.sources import Split
from cckeras.export.answers import BATCH, accuracy, static_answers
from cckeras.export.network import Network
from cckeras.export.static import Estimating, Input, StaticLayers

# Enough for a mean; the norms' statistics are taken from one such batch.
IMAGES = 1000


@dataclass(frozen=True)
class Folded:
    """A folded network and its accuracy (percent) on validation images, None
    without such images."""

    layers: StaticLayers
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
    images = train.read_spread(IMAGES)
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
        accuracy(static_answers(source, layers), validation)
        for layers in (plain, renewed)
    ]
    better = int((accuracies[1] or 0) > (accuracies[0] or 0))
    return Folded((plain, renewed)[better], accuracies[better])
