"""A task's network in Keras 2 (tf_keras), for tools that know no other.

Keras 3 and tf_keras live side by side in one process. The backbone is built
once more in Keras 3 and copied layer by layer, so a new backbone works here on
the day it is written.
"""

from __future__ import annotations

import keras
import tf_keras

from cckeras.backbones import backbone
from cckeras.backbones.factory import LayerFactory
from cckeras.export.static import Input, StaticLayers

# Of a layer's configuration: what Keras 2 writes otherwise, and what only
# matters to a layer without values.
_LEFT_OUT = (
    "dtype",
    "quantization_config",
    "renorm",
    "_initializer",
    "_regularizer",
    "_constraint",
)


def legacy_network(source: Input, layers: StaticLayers) -> tf_keras.Model:
    """Return the network `normalised images [B, H, W, 3] -> logits`.

    Its layers have the names of the backbone's.

    Args:
        source: the backbone and its input.
        layers: the task's constant kernels and norms.

    Raises:
        NotImplementedError: for a layer that Keras 2 does not have.
    """
    image = keras.Input((source.size, source.size, 3), name="image")
    factory = LayerFactory([0])
    features = backbone(source.backbone)(image, factory)
    classes = len(layers.network.head_bias)
    plain = keras.Model(image, factory.head(features, classes))
    tensors = {}
    for layer in plain.layers:
        if isinstance(layer, keras.layers.InputLayer):
            copied = tf_keras.Input(layer.output.shape[1:], name=layer.name)
        else:
            new = _same_layer(layer)
            given = keras.tree.map_structure(
                lambda tensor: tensors[id(tensor)], layer.input
            )
            copied = new(given)
            if layer.weights:
                new.set_weights(_values(layers, layer.name))
        tensors[id(layer.output)] = copied
    return tf_keras.Model(tensors[id(image)], copied)


def _same_layer(layer):
    for kind in type(layer).__mro__:
        if (found := getattr(tf_keras.layers, kind.__name__, None)) is not None:
            break
    else:
        raise NotImplementedError(
            f"Expected layers that Keras 2 has. Received: {layer.name!r}, a "
            f"{type(layer).__name__}. Add it to cckeras/export/legacy.py."
        )
    return found.from_config(
        {
            key: value
            for key, value in layer.get_config().items()
            if not key.endswith(_LEFT_OUT)
        }
    )


def _values(layers, name):
    if name in layers.kernels:
        return [layers.kernels[name]]
    if name in layers.norms:
        norm = layers.norms[name]
        return [norm.gamma, norm.beta, norm.mean, norm.variance]
    return [layers.network.head_kernel, layers.network.head_bias]
