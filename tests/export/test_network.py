"""Networks as arrays: they answer as the Keras networks do."""

import keras
import numpy as np
import pytest

from cckeras.export.folding import constant_layers
from cckeras.export.network import read_network
from cckeras.export.static import Input
from tests.backend import array, randomise
from tests.methods.recipes import grow, new_method

OPTIONS = {
    "scratch": {},
    "finetune": {"sources": "previous"},
    "condconv": {"routing": "task"},
}


def randomised(rng, name, count=2, **changes):
    method = new_method(name, **changes)
    tasks = grow(method, count)
    randomise(method.variables.values(), rng, 0.2)
    for path, variable in method.variables.items():
        if path.endswith("moving_variance"):
            variable.assign(np.abs(array(variable)) + 0.5)
    return method, tasks


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("own_expert", ["routed", "added"])
def test_a_constant_network_answers_as_keras_does(rng, name, own_expert):
    changes = dict(OPTIONS[name])
    if name == "condconv":
        changes["own_expert"] = own_expert
    method, tasks = randomised(rng, name, **changes)
    source = Input.of(method.config)
    images = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    for task in tasks:
        network = read_network(method, task.name)
        assert network.constant
        layers = constant_layers(network)
        answers = layers.probabilities(source.features(images, layers))
        logits = method.task_model(task.name)(images)
        np.testing.assert_allclose(
            answers, array(keras.ops.softmax(logits)), atol=1e-5
        )


def test_image_routing_is_constant_only_once_it_has_settled(rng):
    method, tasks = randomised(rng, "condconv")
    assert read_network(method, tasks[0].name).constant
    assert not read_network(method, tasks[1].name).constant
    for path, variable in method.variables.items():
        if path.endswith("router_kernel"):
            variable.assign(np.zeros(variable.shape))
    assert read_network(method, tasks[1].name).constant


def test_a_layer_that_is_not_known_is_named(rng):
    method, tasks = randomised(rng, "scratch", 1)
    model = method.task_model(tasks[0].name)
    dense = keras.layers.Dense(2, name="surprise")
    method._models["a"] = keras.Model(model.input, dense(model.output))
    with pytest.raises(NotImplementedError, match="'surprise', a Dense"):
        read_network(method, "a")
