"""A network with kernels outside the banks, in each form, beside Keras."""

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from cckeras.export.convert import to_tflite
from cckeras.export.folding import constant_layers
from cckeras.export.forms import exact_layers
from cckeras.export.identify import Stack
from cckeras.export.inspection import operators_left_out
from cckeras.export.network import read_network
from cckeras.export.static import Input, static_network
from tests.backend import array
from tests.methods.recipes import grow, new_method

SIZE = 32
RECIPE = {
    "backbone": "efficientnet_lite0",
    "image_size": SIZE,
    "experts": "first",
    "expert_start": "random",
}


def grown(rng, **changes):
    """Two tasks of random values, whose images do not fade on their way."""
    method = new_method("condconv", **RECIPE, **changes)
    tasks = grow(method, 2)
    images = some(rng, 16)
    for new in tasks:
        model = method.task_model(new.name)
        for layer in model.layers:
            layer.momentum = 0  # One pass sets the norms' statistics.
        model(images, training=True)
    return method, [new.name for new in tasks]


def probabilities(method, task, images):
    return array(keras.ops.softmax(method.task_model(task)(images)))


def some(rng, count=2):
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.float32)


def test_the_exact_form_is_a_signature_inside_xnnpack(rng):
    method, (_, task) = grown(rng, routing="image")
    network = read_network(method, task)
    assert not network.constant
    assert len(network.own) == 17
    assert len(network.convolutions) == 32
    layers = exact_layers(network)
    function = static_network(Input.of(method.config), layers)
    model = to_tflite({"classify": function})
    interpreter = Interpreter(model_content=model)
    classify = interpreter.get_signature_runner("classify")
    images = some(rng)
    expected = probabilities(method, task, images)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    for image, answer in zip(images, expected, strict=True):
        found = classify(image=image[None])["probabilities"][0]
        np.testing.assert_allclose(found, answer, atol=1e-4)
    assert operators_left_out(interpreter) == {}


def test_constant_tasks_answer_alone_and_from_a_stack(rng):
    method, names = grown(rng, routing="task")
    source = Input.of(method.config)
    layers = [constant_layers(read_network(method, name)) for name in names]
    images = some(rng)
    stack = Stack(layers).read(tf.constant([1, 0]))
    together = tf.exp(stack.log_probabilities(source.features(images, stack)))
    for number, own in enumerate(layers):
        expected = probabilities(method, names[number], images)
        alone = own.probabilities(source.features(images, own))
        np.testing.assert_allclose(alone, expected, atol=1e-4)
        other = 1 - number
        np.testing.assert_allclose(together[other], expected[other], atol=1e-4)
