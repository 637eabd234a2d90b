"""efficientnet_lite0: EfficientNet-Lite0, the model makers' phone network."""

from keras import layers as kl

# Tan and Le 2019 (EfficientNet-B0) as Google's Lite variant: ReLU6 and no
# squeeze-and-excitation. A row a stage: expansion, channels, blocks, stride of
# the first, kernel size.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
EPSILON = 1e-3


def efficientnet_lite0(x, layers):
    """Inverted residual blocks between a stem of 32 and 1280 channels.

    The pointwise kernels, nine tenths of the convolution weights, may be
    shared; stem and depthwise kernels are a task's own.

    Args:
        x: `[B, H, W, 3]`, H and W at least 16; the pretrained weights want
            96 to 224 and (image - 127) / 128.
        layers: a `LayerFactory`.

    Returns:
        `[B, 1280]`.
    """
    x = layers.own_conv(x, 32, 3, strides=2, name="stem_conv")
    x = _activated(x, layers, "stem")
    number = 0
    for expansion, filters, blocks, strides, kernel_size in STAGES:
        for block in range(blocks):
            number += 1
            x = inverted_residual(
                x,
                layers,
                expansion,
                filters,
                kernel_size,
                strides if block == 0 else 1,
                f"block{number}",
            )
    x = layers.conv(x, 1280, 1, name="top_conv")
    x = _activated(x, layers, "top")
    return kl.GlobalAveragePooling2D(name="features")(x)


def inverted_residual(
    x, layers, expansion, filters, kernel_size, strides, name
):
    """Expand, filter each channel, project; add the input where shapes agree."""
    shortcut = x
    if expansion > 1:
        wide = expansion * x.shape[-1]
        x = layers.conv(x, wide, 1, name=f"{name}_expand_conv")
        x = _activated(x, layers, f"{name}_expand")
    x = layers.depthwise(
        x, kernel_size, strides=strides, name=f"{name}_depthwise_conv"
    )
    x = _activated(x, layers, f"{name}_depthwise")
    x = layers.conv(x, filters, 1, name=f"{name}_project_conv")
    x = layers.norm(x, name=f"{name}_project_norm", epsilon=EPSILON)
    if shortcut.shape[1:] == x.shape[1:]:
        x = kl.Add(name=f"{name}_add")([x, shortcut])
    return x


def _activated(x, layers, name):
    x = layers.norm(x, name=f"{name}_norm", epsilon=EPSILON)
    return kl.ReLU(6.0, name=f"{name}_relu")(x)
