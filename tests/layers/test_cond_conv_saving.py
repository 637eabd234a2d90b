"""A grown CondConv2D goes through get_config, JSON and .keras files."""

import json

import keras
import numpy as np
import pytest

from cckeras.layers.cond_conv import CondConv2D
from tests.backend import array, randomise, same_bits

ARGUMENTS = {
    "filters": 4,
    "kernel_size": (3, 2),
    "strides": (1, 2),
    "padding": "same",
    "data_format": "channels_last",
    "dilation_rate": (1, 1),
    "groups": 2,
    "use_bias": True,
    "routing": "image",
    "expert_start": "mean",
    "router_start": "zeros",
    "own_expert": "added",
    "implementation": "patches",
    "name": "bank",
}


@pytest.fixture
def layer(rng):
    layer = CondConv2D(
        **ARGUMENTS,
        kernel_initializer=keras.initializers.Constant(0.1),
        kernel_regularizer=keras.regularizers.L2(0.5),
    )
    layer.build((None, 6, 5, 4))
    layer.grow("a")
    layer.grow("b")
    layer.grow("c", "first")
    randomise(layer.variables, rng)
    return layer


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, 6, 5, 4)).astype("float32")


def test_config_holds_arguments_and_tasks(layer):
    config = layer.get_config()
    assert {key: config[key] for key in ARGUMENTS} == ARGUMENTS
    assert config["tasks"] == {"a": [], "b": ["a"], "c": ["a"]}
    assert config["kernel_regularizer"]["config"] == {"l2": 0.5}


def test_config_round_trip_through_json(layer, images):
    config = json.loads(json.dumps(layer.get_config()))
    again = CondConv2D.from_config(config)
    again.build(images.shape)
    assert json.loads(json.dumps(again.get_config())) == config
    assert again.tasks == layer.tasks
    for task in layer.tasks:
        assert again.experts(task) == layer.experts(task)
    shapes = [[v.shape for v in one.variables] for one in (layer, again)]
    assert shapes[0] == shapes[1]
    trainable = [[v.trainable for v in one.variables] for one in (layer, again)]
    assert trainable[0] == trainable[1]
    for one, other in zip(again.variables, layer.variables, strict=True):
        one.assign(other)
    for task in layer.tasks:
        assert same_bits(again(images, task=task), layer(images, task=task))


def test_an_unbuilt_plan_is_in_the_config():
    layer = CondConv2D(4, 3, kernel_initializer="zeros")
    layer.grow("a")
    layer.grow("b", "first")
    again = CondConv2D.from_config(json.loads(json.dumps(layer.get_config())))
    again.build((None, 6, 5, 3))
    assert again.experts("b") == ("a", "b")


def test_a_model_goes_through_a_keras_file(layer, images, tmp_path):
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, [layer(image, task=t) for t in layer.tasks])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(again(images), model(images), strict=True):
        assert same_bits(one, other)
    bank = again.get_layer("bank")
    assert bank.tasks == layer.tasks
    assert bank.implementation == layer.implementation
    trainable = {v.path for v in again.trainable_variables}
    assert trainable == {v.path for v in layer.owned("c").values()}


def test_a_loaded_model_grows_on(layer, images, tmp_path):
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, layer(image, task="c"))
    model.save(tmp_path / "model.keras")
    bank = keras.saving.load_model(tmp_path / "model.keras").get_layer("bank")
    before = array(bank(images, task="c"))
    bank.grow("d")
    assert bank.experts("d") == ("a", "b", "c", "d")
    randomise(bank.owned("d").values(), np.random.default_rng(0))
    assert same_bits(bank(images, task="c"), before)


def test_weights_alone_go_through_a_file(layer, images, tmp_path):
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, layer(image, task="b"))
    model.save_weights(tmp_path / "model.weights.h5")
    before = array(model(images))
    randomise(layer.variables, np.random.default_rng(0))
    assert not same_bits(model(images), before)
    model.load_weights(tmp_path / "model.weights.h5")
    assert same_bits(model(images), before)
