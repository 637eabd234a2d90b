"""A task's network: images in 0..255 to logits."""

from __future__ import annotations

import keras

from cckeras.backbones import backbone


def build_network(
    name: str, layers, image_shape, classes: int, mean, std, **options
) -> keras.Model:
    """Return the model `image float32 [B, H, W, 3] in 0..255 -> [B, classes]`.

    Args:
        name: a backbone.
        layers: the `LayerFactory` that makes its layers.
        image_shape: `(H, W, 3)`.
        classes: number of classes of the task.
        mean, std: per channel, of images scaled to 0..1; normalisation is
            the network's first layer.
        **options: further arguments of the backbone.
    """
    image = keras.Input(image_shape, name="image")
    x = keras.layers.Rescaling(
        [1 / (255 * value) for value in std],
        [-centre / value for centre, value in zip(mean, std, strict=True)],
        name="normalise",
    )(image)
    features = backbone(name)(x, layers, **options)
    return keras.Model(image, layers.head(features, classes))
