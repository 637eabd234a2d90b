"""BatchNorm is keras' BatchNormalization, trained with a faster operation."""

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.layers.batch_norm import BatchNorm
from tests.backend import BACKEND, array, gradients, randomise, same_bits

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
CASES = {
    "images": ((4, 5, 6, 3), {}),
    "one_pixel": ((4, 1, 1, 3), {}),
    "one_image": ((1, 5, 6, 3), {}),
    "axis_3": ((4, 5, 6, 3), {"axis": 3}),
    "axis_1": ((4, 3, 5, 6), {"axis": 1}),
    "features": ((8, 3), {}),
    "momentum": ((4, 5, 6, 3), {"momentum": 0.5, "epsilon": 0.1}),
    "no_scale": ((4, 5, 6, 3), {"scale": False}),
    "no_center": ((4, 5, 6, 3), {"center": False}),
    "frozen": ((4, 5, 6, 3), {"trainable": False}),
    "renorm": ((4, 5, 6, 3), {"renorm": True}),
}
if BACKEND == "tensorflow":
    CASES["synchronized"] = ((4, 5, 6, 3), {"synchronized": True})


@pytest.fixture(params=CASES)
def case(request, rng):
    """Return ours and Keras' layer with equal values, and two batches."""
    shape, arguments = CASES[request.param]
    arguments = {"momentum": 0.9, "epsilon": 1e-5, **arguments}
    layers = [
        BatchNorm(**arguments),
        keras.layers.BatchNormalization(**arguments),
    ]
    for layer in layers:
        layer.build(shape)
    ours, theirs = layers
    values = [ours.gamma, ours.beta, ours.moving_mean, ours.moving_variance]
    randomise([v for v in values if v is not None], rng)
    ours.moving_variance.assign(ops.square(ours.moving_variance) + 0.1)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        other.assign(one)
    batches = 2 * rng.standard_normal((2, *shape)).astype("float32") + 1
    return ours, theirs, batches


def assert_equal_variables(ours, theirs):
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(array(one), array(other), **CLOSE)


def test_training_and_inference_and_moving_statistics_agree(case):
    ours, theirs, batches = case
    for batch in batches:
        np.testing.assert_allclose(
            array(ours(batch, training=True)),
            array(theirs(batch, training=True)),
            **CLOSE,
        )
        assert_equal_variables(ours, theirs)
        np.testing.assert_allclose(
            array(ours(batch, training=False)),
            array(theirs(batch, training=False)),
            **CLOSE,
        )
    assert_equal_variables(ours, theirs)


def test_gradients_agree(case, rng):
    ours, theirs, batches = case
    probe = rng.standard_normal(batches[0].shape).astype("float32")
    found = []
    for layer in (ours, theirs):
        inputs = keras.Variable(batches[0])
        trained = [v for v in layer.variables if v.trainable]

        def loss(layer=layer, inputs=inputs):
            y = layer(inputs.value, training=True)
            return ops.sum(y * probe + ops.square(y) * probe)

        found.append(gradients(loss, [inputs, *trained]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_moving_variance_is_the_biased_one(rng):
    layer = BatchNorm(momentum=0.0)
    batch = rng.standard_normal((2, 3, 1, 4)).astype("float32")
    layer(batch, training=True)
    expected = batch.reshape(-1, 4).var(0)
    np.testing.assert_allclose(array(layer.moving_variance), expected, **CLOSE)
    mean = batch.reshape(-1, 4).mean(0)
    np.testing.assert_allclose(array(layer.moving_mean), mean, **CLOSE)


def test_inference_is_keras_own_bit_for_bit_and_changes_nothing(case):
    ours, theirs, batches = case
    before = [array(v) for v in ours.variables]
    assert same_bits(ours(batches[0]), theirs(batches[0]))
    for variable, value in zip(ours.variables, before, strict=True):
        assert same_bits(variable, value)


def test_a_frozen_layer_uses_and_keeps_its_moving_statistics(rng):
    layer = BatchNorm()
    batch = rng.standard_normal((2, 3, 3, 4)).astype("float32")
    layer(batch, training=True)
    layer.trainable = False
    before = [array(v) for v in layer.variables]
    assert same_bits(layer(batch, training=True), layer(batch, training=False))
    for variable, value in zip(layer.variables, before, strict=True):
        assert same_bits(variable, value)


def test_mixed_precision_keeps_statistics_in_float32(rng):
    batch = rng.standard_normal((4, 5, 6, 3)).astype("float16")
    layers = [
        kind(momentum=0.9, dtype="mixed_float16")
        for kind in (BatchNorm, keras.layers.BatchNormalization)
    ]
    outputs = [array(layer(batch, training=True)) for layer in layers]
    assert outputs[0].dtype == np.float16
    np.testing.assert_allclose(*outputs, rtol=2e-3, atol=2e-3)
    for one, other in zip(*(lay.variables for lay in layers), strict=True):
        assert one.dtype == "float32"
        np.testing.assert_allclose(array(one), array(other), atol=1e-4)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 by default")
def test_float64_agrees(rng):
    batch = rng.standard_normal((4, 5, 6, 3))
    outputs = [
        array(kind(dtype="float64")(batch, training=True))
        for kind in (BatchNorm, keras.layers.BatchNormalization)
    ]
    assert outputs[0].dtype == np.float64
    np.testing.assert_allclose(*outputs, **CLOSE)


def test_it_goes_through_a_keras_file(rng, tmp_path):
    batch = rng.standard_normal((4, 5, 6, 3)).astype("float32")
    model = keras.Sequential([keras.Input((5, 6, 3)), BatchNorm(momentum=0.7)])
    model(batch, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is BatchNorm
    assert same_bits(again(batch), model(batch))
