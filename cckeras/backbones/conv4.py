"""conv4: four 3x3 convolutions, the paper's network for CIFAR-100."""

from keras import layers as kl


def conv4(x, layers):
    """Four times convolution (64), norm, ReLU, 2x2 max-pool (methods.md 2).

    Args:
        x: `[B, H, W, C]`, H and W at least 16.
        layers: a `LayerFactory`.

    Returns:
        `[B, 64 * (H // 16) * (W // 16)]`.
    """
    for index in range(1, 5):
        x = layers.conv(x, 64, 3, name=f"conv{index}")
        x = layers.norm(x, name=f"norm{index}")
        x = kl.ReLU(name=f"relu{index}")(x)
        x = kl.MaxPooling2D(2, name=f"pool{index}")(x)
    return kl.Flatten(name="features")(x)
