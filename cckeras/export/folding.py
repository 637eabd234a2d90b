"""Image routing replaced by its mean over the task's training images, or by
that and a few principal directions."""

from __future__ import annotations

from dataclasses import dataclass

from cckeras.data.sources import Split
from cckeras.export.answers import BATCH, accuracy, static_answers
from cckeras.export.low_rank import reduced
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


class Folding:
    """Folds a task's network, some layers wholly, others to a low rank.

    Args:
        source: the network's input.
        network: the task's arrays.
        routing: `{layer: Keras model from image to routing weights [B, n]}`.
        train, validation: the task's images.

    Attributes:
        experts: `{layer: n}` of the layers with image routing, in order.
    """

    def __init__(
        self,
        source: Input,
        network: Network,
        routing,
        train: Split,
        validation: Split,
    ):
        self._source, self._network = source, network
        self._validation = validation
        self._images = train.read_spread(IMAGES)
        self._weights = {
            name: routing[name].predict(self._images, BATCH, verbose=0)
            for name, conv in network.convolutions.items()
            if not conv.constant
        }
        self.experts = {
            name: weights.shape[1] for name, weights in self._weights.items()
        }

    def fold(self, ranks: dict[str, int]) -> Folded:
        """Fold every layer.

        The norms' statistics are estimated again, from training images, where
        that gives the better validation accuracy.

        Args:
            ranks: `{layer: number of directions}`; the others keep the mean.
        """
        kernels = {}
        for name, conv in self._network.convolutions.items():
            if name in ranks:
                kernels[name] = reduced(conv, self._weights[name], ranks[name])
            elif conv.constant:
                kernels[name] = conv.mixed()
            else:
                kernels[name] = conv.mixed(self._weights[name].mean(0))
        plain = StaticLayers(self._network, kernels)
        estimating = Estimating(self._network, kernels)
        self._source.features(self._images, estimating)
        renewed = StaticLayers(self._network, kernels, estimating.norms)
        accuracies = [
            accuracy(static_answers(self._source, layers), self._validation)
            for layers in (plain, renewed)
        ]
        better = int((accuracies[1] or 0) > (accuracies[0] or 0))
        return Folded((plain, renewed)[better], accuracies[better])
