"""The stem of ResNets for pictures of ImageNet's size."""

from keras import layers as kl


def imagenet_stem(x, layers):
    """7x7 convolution and 3x3 pooling, a stride of two each (He et al. 2015).

    Args:
        x: `[B, H, W, C]`.
        layers: a `LayerFactory`.

    Returns:
        `[B, ceil(H / 4), ceil(W / 4), 64]`.
    """
    x = layers.conv(x, 64, 7, strides=2, padding="symmetric", name="stem_conv")
    x = kl.ReLU(name="stem_relu")(layers.norm(x, name="stem_norm"))
    # After ReLU nothing is below the zeros of the padding.
    x = kl.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return kl.MaxPooling2D(3, 2, name="stem_pool")(x)
