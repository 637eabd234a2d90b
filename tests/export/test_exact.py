"""The network of all tasks: its convolutions, and what its tables hold."""

import numpy as np
import pytest
import tensorflow as tf

from cckeras.export.exact import ExactLayers
from cckeras.export.network import ALWAYS, Convolution, Network, Norm
from cckeras.export.tables import TABLES, Tables
from tests.layers import oracle


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def convolution(rng, tasks, shape, routed):
    experts = {task: normal(rng, *shape) for task in tasks}
    kernel = normal(rng, shape[2], len(tasks)) if routed else None
    bias = normal(rng, len(tasks))
    return Convolution(experts, kernel, bias)


def network(rng, conv, classes=2):
    norm = Norm(*(np.abs(normal(rng, 5)) for _ in range(4)), 1e-5)
    head = normal(rng, 5, classes)
    return Network({"conv": conv}, {"norm": norm}, head, normal(rng, classes))


def layers_of(tables, number):
    return ExactLayers(tables, tables.read(tf.constant([number])))


@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
@pytest.mark.parametrize(
    ("kernel", "strides"), [(3, 1), (3, 2), (1, 1), (1, 2), (5, 1)]
)
@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_convolution_is_that_of_the_oracle(
    rng, size, kernel, strides, channels, padding
):
    conv = convolution(rng, "ab", (kernel, kernel, channels, 5), routed=True)
    layers = layers_of(Tables({"b": network(rng, conv)}), 0)
    image = normal(rng, *size, channels)
    result = layers.conv(
        tf.constant(image[None]),
        5,
        kernel,
        strides=strides,
        padding=padding,
        name="conv",
    )
    routing = oracle.sigmoid(
        image.mean((0, 1), dtype=np.float64) @ conv.router_kernel
        + conv.router_bias
    )
    mixed = np.tensordot(routing, np.stack(list(conv.experts.values())), 1)
    expected = oracle.convolution(
        image, mixed, (strides, strides), padding, (1, 1), 1
    )
    np.testing.assert_allclose(result[0], expected, rtol=1e-4, atol=1e-4)


def test_an_expert_that_a_task_does_not_use_weighs_nothing_at_all(rng):
    shape = (1, 1, 4, 5)
    first = convolution(rng, "a", shape, routed=False)
    second = convolution(rng, "ab", shape, routed=True)
    second.experts["a"] = first.experts["a"]
    tables = Tables({"a": network(rng, first), "b": network(rng, second)})
    assert tables.experts == ("a", "b")
    bias = layers_of(tables, 0)._fields["conv/router_bias"]
    assert tf.sigmoid(bias).numpy()[0, 1] == 0.0


def test_a_constant_weight_of_one_is_exactly_one(rng):
    conv = Convolution(
        {"a": normal(rng, 1, 1, 4, 5)}, None, np.full(1, ALWAYS, np.float32)
    )
    np.testing.assert_array_equal(conv.mixed(), conv.experts["a"])
    layers = layers_of(Tables({"a": network(rng, conv)}), 0)
    assert tf.sigmoid(layers._fields["conv/router_bias"]).numpy() == 1.0


def test_classes_that_a_task_lacks_have_no_probability(rng):
    conv = convolution(rng, "a", (1, 1, 4, 5), routed=True)
    tables = Tables(
        {"a": network(rng, conv), "b": network(rng, conv, classes=4)}
    )
    features = tf.constant(normal(rng, 1, 5))
    few = layers_of(tables, 0).probabilities(features).numpy()[0]
    assert few[2:].tolist() == [0.0, 0.0]
    assert few[:2].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("quantization", "rtol"),
    [("none", 1e-6), ("float16", 2e-3), ("int8_weights", 2e-2)],
)
def test_quantized_tables_convolve_about_as_the_others(rng, quantization, rtol):
    conv = convolution(rng, "ab", (3, 3, 4, 5), routed=True)
    networks = {"a": network(rng, conv)}
    image = tf.constant(normal(rng, 1, 6, 6, 4))
    exact, other = (
        layers_of(tables(networks), 0).conv(image, 5, 3, name="conv").numpy()
        for tables in (Tables, TABLES[quantization])
    )
    assert np.abs(other - exact).max() <= rtol * np.abs(exact).max()
