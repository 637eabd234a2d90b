"""A small network that looks at images, and tasks of a colour each."""

import keras
import numpy as np

from cckeras.data.sources import ArrayImages, Split, TaskData


def small_network(classes=2):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="one")(x)
    x = keras.layers.Conv2D(6, 3, name="two")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, name="head")(x))


def split(images, classes=2):
    """Images whose classes take turns."""
    return Split(ArrayImages(images), np.arange(len(images)) % classes)


def task(rng, number, count=60):
    """Images of a colour of their own, the second class brighter."""
    colour = np.eye(3)[number] * 100
    parts = []
    for n in (count, 20, 20):
        bright = 40.0 * (np.arange(n) % 2)[:, None, None, None]
        noise = rng.uniform(0, 100, (n, 8, 8, 3))
        parts.append(split((noise + colour + bright).astype(np.uint8)))
    return TaskData(("a", "b"), *parts)
