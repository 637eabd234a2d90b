"""resnet50 in its ImageNet form, and Keras Applications' form of it."""

from __future__ import annotations

from keras import layers as kl

from cckeras.backbones.stem import imagenet_stem

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet50(x, layers):
    """Bottleneck blocks [3, 4, 6, 3], strides in the 3x3 (methods.md 2).

    It is torchvision's network ("v1.5"): He et al. 2015 but for the strides.

    Args:
        x: `[B, H, W, C]`, H and W at least 16.
        layers: a `LayerFactory`.

    Returns:
        `[B, 2048]`.
    """
    return _resnet50(x, layers, first_strides=False)


def resnet50_v1(x, layers):
    """The network of `keras.applications.ResNet50`: as in the paper, a block's
    strides are in its first 1x1 convolution.

    That network's biases and its epsilon of 1.001e-5 are in the norms
    (cckeras/training/keras_weights.py). Arguments and result are those of
    `resnet50`.
    """
    return _resnet50(x, layers, first_strides=True)


def _resnet50(x, layers, first_strides):
    x = imagenet_stem(x, layers)
    for stage, (filters, blocks) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _bottleneck(
                x,
                layers,
                filters,
                (strides, 1) if first_strides else (1, strides),
                f"stage{stage}_{block}",
            )
    return kl.GlobalAveragePooling2D(name="features")(x)


def _bottleneck(x, layers, filters, strides, name):
    """1x1, 3x3 and 1x1 convolutions beside the identity or a projection.

    `strides` are those of the first two.
    """
    shortcut = x
    for index, size in enumerate((1, 3), 1):
        x = layers.conv(
            x,
            filters,
            size,
            strides=strides[index - 1],
            padding="symmetric",
            name=f"{name}_conv{index}",
        )
        x = layers.norm(x, name=f"{name}_norm{index}")
        x = kl.ReLU(name=f"{name}_relu{index}")(x)
    x = layers.conv(x, 4 * filters, 1, name=f"{name}_conv3")
    x = layers.norm(x, name=f"{name}_norm3")
    if shortcut.shape != x.shape:
        shortcut = layers.conv(
            shortcut,
            4 * filters,
            1,
            strides=max(strides),
            name=f"{name}_project",
        )
        shortcut = layers.norm(shortcut, name=f"{name}_project_norm")
    x = kl.Add(name=f"{name}_add")([x, shortcut])
    return kl.ReLU(name=f"{name}_relu3")(x)
