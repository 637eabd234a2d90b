"""A task's network, layer by layer in NumPy, and its multiply-adds."""

import keras
import numpy as np
import pytest

from cckeras.backbones.factory import BankFactory, LayerFactory
from cckeras.backbones.multiply_adds import multiply_adds
from cckeras.backbones.network import build_network
from tests.backend import array, randomise
from tests.layers import oracle

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def build(name="conv4", layers=None, size=(32, 32), classes=5):
    layers = layers or LayerFactory([0])
    return build_network(name, layers, (*size, 3), classes, MEAN, STD)


def test_images_of_0_to_255_are_normalised_in_the_network(rng):
    images = rng.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    model = build()
    first = keras.Model(model.input, model.get_layer("normalise").output)
    expected = (images / 255 - MEAN) / STD
    np.testing.assert_allclose(array(first(images)), expected, atol=1e-5)


def slow_conv4(variables, images):
    x = (images.astype("float64") / 255 - MEAN) / STD
    for index in range(1, 5):
        kernel = variables[f"conv{index}/kernel"]
        x = oracle.cond_conv(x, [kernel], padding="same")
        norm = {
            part: variables[f"norm{index}/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + 1e-5)
        x = np.maximum((x - norm["moving_mean"]) * scale + norm["beta"], 0)
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = x.max((2, 4))
    features = x.reshape(len(x), -1)
    return features @ variables["head/kernel"] + variables["head/bias"]


def test_conv4_is_the_published_network(rng):
    layers = LayerFactory([0])
    model = build(layers=layers, size=(16, 32))
    for key, variable in layers.variables.items():
        if "norm" in key:
            randomise([variable], rng, scale=0.3)
            variable.assign(np.abs(array(variable)) + 0.5)
    values = {key: array(v) for key, v in layers.variables.items()}
    images = rng.integers(0, 256, (1, 16, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        array(model(images, training=False)),
        slow_conv4(values, images),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("size", "features"), [((16, 16), 64), ((33, 47), 256), ((48, 32), 384)]
)
def test_conv4_takes_images_of_16_pixels_or_more(size, features):
    model = build(size=size)
    assert model.get_layer("features").output.shape == (None, features)


@pytest.mark.parametrize("size", [(8, 8), (32, 20), (33, 47)])
def test_resnet18_takes_images_of_8_pixels_or_more(size):
    model = build("resnet18", size=size)
    assert model.get_layer("features").output.shape == (None, 512)


def test_resnet18_projects_where_shapes_change_and_nowhere_else():
    layers = LayerFactory([0])
    model = build("resnet18", layers)
    projections = {
        key: variable.shape
        for key, variable in layers.variables.items()
        if key.endswith("project/kernel")
    }
    assert projections == {
        "stage2_1_project/kernel": (1, 1, 64, 128),
        "stage3_1_project/kernel": (1, 1, 128, 256),
        "stage4_1_project/kernel": (1, 1, 256, 512),
    }
    shapes = {
        stage: model.get_layer(f"stage{stage}_2_relu2").output.shape[1:]
        for stage in (1, 2, 3, 4)
    }
    assert shapes == {
        1: (32, 32, 64),
        2: (16, 16, 128),
        3: (8, 8, 256),
        4: (4, 4, 512),
    }


# Pixels of the output times kernel elements, then the head.
CONV4 = (
    32 * 32 * (9 * 3 * 64)
    + 16 * 16 * (9 * 64 * 64)
    + 8 * 8 * (9 * 64 * 64)
    + 4 * 4 * (9 * 64 * 64)
    + 256 * 5
)
ROUTERS = 3 + 64 + 64 + 64


def grown_conv4(tasks, **options):
    banks = {}
    for task in tasks:
        factory = BankFactory([0, task], banks, task, "all", options)
        model = build(layers=factory)
    return model


def test_multiply_adds_of_conv4():
    assert CONV4 == 14_157_056
    assert multiply_adds(build()) == CONV4
    assert multiply_adds(grown_conv4("a")) == CONV4


def test_image_routing_adds_mixing_and_routers():
    for tasks in ("ab", "abcde"):
        count = len(tasks)
        expected = CONV4 + count * 112_320 + count * ROUTERS
        assert multiply_adds(grown_conv4(tasks)) == expected


def test_task_routing_costs_what_a_plain_network_costs():
    assert multiply_adds(grown_conv4("abc", routing="task")) == CONV4


def test_multiply_adds_of_resnet18():
    stage = 32 * 32 * 64 * 64 * 9
    expected = (
        32 * 32 * 27 * 64
        + 4 * stage
        # A first convolution of half the depth, a projection of 1/18.
        + 3 * (3 * stage + stage // 2 + stage // 18)
        + 512 * 5
    )
    assert multiply_adds(build("resnet18")) == expected
