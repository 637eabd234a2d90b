"""Backbones: each network written once, over a layer factory.

A backbone is a function `(x, layers) -> features [batch, features]` that asks
the factory `layers` for its convolutions and normalisations (factory.py).
"""

from cckeras.backbones.conv4 import conv4
from cckeras.backbones.efficientnet_lite0 import efficientnet_lite0
from cckeras.backbones.resnet18 import resnet18, resnet18_imagenet
from cckeras.backbones.resnet50 import resnet50, resnet50_v1
from cckeras.errors import choose

BACKBONES = {
    "conv4": conv4,
    "resnet18": resnet18,
    "resnet18_imagenet": resnet18_imagenet,
    "resnet50": resnet50,
    "resnet50_v1": resnet50_v1,
    "efficientnet_lite0": efficientnet_lite0,
}


def backbone(name: str):
    """Return the backbone function of a name.

    Raises:
        InputError: if there is none of that name.
    """
    return BACKBONES[choose("backbone", name, BACKBONES)]
