"""resnet18, with the stem for small pictures (CIFAR) or for ImageNet's."""

from keras import layers as kl

from cckeras.backbones.stem import imagenet_stem


def resnet18(x, layers, width=64):
    """Basic blocks [2, 2, 2, 2] of 64 to 512 channels (methods.md 2).

    The stem is a 3x3 convolution without pooling.

    Args:
        x: `[B, H, W, C]`, H and W at least 8.
        layers: a `LayerFactory`.
        width: channels of the first stage; each stage has twice as many.

    Returns:
        `[B, 8 * width]`.
    """
    x = layers.conv(x, width, 3, name="stem_conv")
    x = kl.ReLU(name="stem_relu")(layers.norm(x, name="stem_norm"))
    return _blocks(x, layers, width)


def resnet18_imagenet(x, layers):
    """The same behind the stem of `resnet50`, which makes pictures four times
    smaller; H and W at least 16."""
    return _blocks(imagenet_stem(x, layers), layers, 64)


def _blocks(x, layers, width):
    for stage in range(1, 5):
        filters = width * 2 ** (stage - 1)
        for block in (1, 2):
            strides = 2 if stage > 1 and block == 1 else 1
            x = basic_block(
                x, layers, filters, strides, f"stage{stage}_{block}"
            )
    return kl.GlobalAveragePooling2D(name="features")(x)


def basic_block(x, layers, filters, strides, name):
    """Two 3x3 convolutions beside the identity, or a projection of it."""
    shortcut = x
    x = layers.conv(
        x,
        filters,
        3,
        strides=strides,
        padding="symmetric",
        name=f"{name}_conv1",
    )
    x = kl.ReLU(name=f"{name}_relu1")(layers.norm(x, name=f"{name}_norm1"))
    x = layers.norm(
        layers.conv(x, filters, 3, name=f"{name}_conv2"), name=f"{name}_norm2"
    )
    if shortcut.shape != x.shape:
        shortcut = layers.norm(
            layers.conv(
                shortcut, filters, 1, strides=strides, name=f"{name}_project"
            ),
            name=f"{name}_project_norm",
        )
    x = kl.Add(name=f"{name}_add")([x, shortcut])
    return kl.ReLU(name=f"{name}_relu2")(x)
