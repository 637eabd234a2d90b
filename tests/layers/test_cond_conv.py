"""CondConv2D's arithmetic, against the oracle and against keras' Conv2D."""

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.layers.cond_conv import CondConv2D
from tests.backend import (
    BACKEND,
    array,
    compiled,
    gradients,
    jax_only,
    randomise,
    same_bits,
    tensorflow_only,
)
from tests.layers import oracle

CHANNELS, FILTERS = 4, 6
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

# Convolutions of odd sizes; every argument has a value that is not its default.
GEOMETRIES = {
    "same": {"kernel_size": 3, "padding": "same"},
    "valid": {"kernel_size": 3},
    "strides": {"kernel_size": 3, "padding": "same", "strides": 2},
    "uneven": {"kernel_size": (2, 3), "strides": (2, 1)},
    "even": {"kernel_size": (4, 2), "padding": "same"},
    "dilation": {"kernel_size": 3, "padding": "same", "dilation_rate": 2},
    "valid_dilation": {"kernel_size": 2, "dilation_rate": (1, 3)},
    "groups": {"kernel_size": 3, "padding": "same", "groups": 2},
    "grouped_strides": {"kernel_size": 3, "strides": 2, "groups": 2},
    "channels_first": {
        "kernel_size": 3,
        "padding": "same",
        "data_format": "channels_first",
    },
    "pointwise": {"kernel_size": 1},
    "bias": {"kernel_size": 3, "use_bias": True},
}
# JAX takes seconds to compile an initialiser that draws random numbers.
DEFAULTS = {"use_bias": False, "kernel_initializer": "zeros"}
FORMS = ("patches", "grouped") if BACKEND == "tensorflow" else ("patches",)


def grown(rng, **arguments):
    """Return a layer grown by three tasks, with random values everywhere."""
    layer = CondConv2D(FILTERS, **{**DEFAULTS, **arguments})
    first = layer.data_format == "channels_first"
    layer.build((None, CHANNELS, 7, 5) if first else (None, 7, 5, CHANNELS))
    for task in "abc":
        layer.grow(task)
    randomise(layer.variables, rng)
    return layer


def some_images(rng, layer, batch=3):
    first = layer.data_format == "channels_first"
    shape = (CHANNELS, 7, 5) if first else (7, 5, CHANNELS)
    return rng.standard_normal((batch, *shape)).astype("float32")


def answer(layer, images, task):
    return array(compiled(lambda x: layer(x, task=task))(images))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_image_routing_equals_the_oracle(geometry, form, rng):
    layer = grown(rng, implementation=form, **GEOMETRIES[geometry])
    images = some_images(rng, layer)
    found = answer(layer, images, "c")
    assert found.shape == layer.compute_output_shape(images.shape)
    np.testing.assert_allclose(
        found, oracle.of_layer(layer, "c", images), **CLOSE
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("size", [(6, 8), (5, 6), (2, 2)])
def test_symmetric_padding_equals_the_oracle(size, strides, form, rng):
    # Routing is by the image alone: zeros around it must not enter the mean.
    for kernel, options in (
        (1, {}),
        (3, {"groups": 2}),
        ((5, 3), {"data_format": "channels_first"}),
    ):
        layer = grown(
            rng,
            kernel_size=kernel,
            strides=strides,
            padding="symmetric",
            implementation=form,
            **options,
        )
        shape = (CHANNELS, *size) if options.get("data_format") else None
        images = rng.standard_normal((2, *(shape or (*size, CHANNELS))))
        images = images.astype("float32")
        for task in "ac":
            found = answer(layer, images, task)
            assert found.shape == layer.compute_output_shape(images.shape)
            np.testing.assert_allclose(
                found, oracle.of_layer(layer, task, images), **CLOSE
            )


@pytest.mark.parametrize("geometry", ["same", "groups", "channels_first"])
@pytest.mark.parametrize("own_expert", ["routed", "added"])
@pytest.mark.parametrize("routing", ["image", "task"])
def test_both_routings_and_own_experts_equal_the_oracle(
    routing, own_expert, geometry, rng
):
    layer = grown(
        rng, routing=routing, own_expert=own_expert, **GEOMETRIES[geometry]
    )
    images = some_images(rng, layer)
    for task in "bc":
        np.testing.assert_allclose(
            answer(layer, images, task),
            oracle.of_layer(layer, task, images),
            **CLOSE,
        )


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 3), (9, 9)])
def test_auto_equals_the_oracle_for_few_and_many_pixels(size, rng):
    layer = CondConv2D(2, 3, padding="same", kernel_initializer="zeros")
    layer.build((None, *size, 8))
    layer.grow("a")
    layer.grow("b")
    randomise(layer.variables, rng)
    images = rng.standard_normal((2, *size, 8)).astype("float32")
    np.testing.assert_allclose(
        answer(layer, images, "b"),
        oracle.of_layer(layer, "b", images),
        **CLOSE,
    )


def test_different_images_get_different_kernels(rng):
    """Two images in a batch come out as each of them alone."""
    layer = grown(rng, kernel_size=3, padding="same")
    images = some_images(rng, layer, batch=2)
    together = answer(layer, images, "c")
    for index in range(2):
        alone = answer(layer, images[index : index + 1], "c")
        np.testing.assert_allclose(together[index], alone[0], **CLOSE)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_first_task_is_exactly_a_keras_convolution(geometry, rng):
    layer = grown(rng, **GEOMETRIES[geometry])
    images = some_images(rng, layer)
    plain = keras.layers.Conv2D(FILTERS, **{**DEFAULTS, **GEOMETRIES[geometry]})
    plain.build(images.shape)
    weights = layer.owned("a")
    plain.kernel.assign(weights["expert"])
    if plain.use_bias:
        plain.bias.assign(weights["bias"])
    assert same_bits(layer(images, task="a"), plain(images))


def expert_values(layer, task):
    return array(layer.owned(task)["expert"])


def test_a_new_expert_starts_at_zero_and_its_router_uniform(rng):
    layer = CondConv2D(FILTERS, 3, **DEFAULTS)
    layer.build((None, 7, 5, CHANNELS))
    layer.grow("a")
    layer.grow("b")
    assert not expert_values(layer, "b").any()
    router = layer.owned("b")
    limit = 1 / np.sqrt(CHANNELS)
    for name in ("router_kernel", "router_bias"):
        values = array(router[name])
        assert 0 < np.abs(values).max() <= limit
    assert router["router_kernel"].shape == (CHANNELS, 2)
    assert router["router_bias"].shape == (2,)


def test_expert_starts(rng):
    layers = {}
    for start in ("zeros", "copy", "mean", "random"):
        layer = CondConv2D(FILTERS, 3, routing="task", expert_start=start)
        layer.build((None, 7, 5, CHANNELS))
        layer.grow("a")
        layer.grow("b")
        randomise(layer.variables, np.random.default_rng(1))
        layer.grow("c")
        layers[start] = layer
    layer = layers["zeros"]
    a, b = expert_values(layer, "a"), expert_values(layer, "b")
    assert not expert_values(layer, "c").any()
    np.testing.assert_array_equal(expert_values(layers["copy"], "c"), b)
    shares = oracle.sigmoid(array(layer.owned("b")["router_logits"]))
    mean = (a + shares[0] * a + shares[1] * b) / 2
    np.testing.assert_allclose(
        expert_values(layers["mean"], "c"), mean, rtol=1e-6, atol=1e-7
    )
    random = expert_values(layers["random"], "c")
    limit = np.sqrt(6 / (9 * (CHANNELS + FILTERS)))
    assert 0.5 * limit < random.std() * np.sqrt(3) < 1.5 * limit
    assert not np.array_equal(random, a)


def test_a_copy_is_of_the_latest_expert_in_use(rng):
    layer = CondConv2D(FILTERS, 3, expert_start="copy", **DEFAULTS)
    layer.build((None, 7, 5, CHANNELS))
    for task in "abc":
        layer.grow(task)
        randomise(layer.variables, rng)
    layer.grow("d", "first")
    layer.grow("e", ("b", "a"))
    np.testing.assert_array_equal(
        expert_values(layer, "d"), expert_values(layer, "a")
    )
    np.testing.assert_array_equal(
        expert_values(layer, "e"), expert_values(layer, "a")
    )


def test_routers_can_start_at_zero(rng):
    layer = CondConv2D(FILTERS, 3, router_start="zeros", **DEFAULTS)
    layer.build((None, 7, 5, CHANNELS))
    layer.grow("a")
    layer.grow("b")
    images = some_images(rng, layer)
    routing = layer.for_task("b").routing_weights(images)
    np.testing.assert_array_equal(array(routing), np.full((3, 2), 0.5))


@pytest.mark.parametrize("routing", ["image", "task"])
def test_routing_weights_are_the_oracle_s(routing, rng):
    for own_expert in ("routed", "added"):
        layer = grown(
            rng,
            kernel_size=3,
            routing=routing,
            own_expert=own_expert,
            data_format="channels_first",
        )
        images = some_images(rng, layer)
        own = {name: array(value) for name, value in layer.owned("c").items()}
        if routing == "task":
            expected = oracle.sigmoid(own["router_logits"])
        else:
            pooled = images.mean((2, 3)) @ own["router_kernel"]
            expected = oracle.sigmoid(pooled + own["router_bias"])
        if own_expert == "added":
            one = np.ones_like(expected[..., :1])
            expected = np.concatenate([expected, one], axis=-1)
        found = layer.for_task("c").routing_weights(images)
        np.testing.assert_allclose(array(found), expected, **CLOSE)
        assert layer.for_task("a").routing_weights(images) is None


def test_task_kernels_are_mixed_as_the_layer_mixes_them(rng):
    for arguments in ({"routing": "task"}, {"own_expert": "added"}):
        layer = grown(rng, kernel_size=3, padding="same", **arguments)
        image = np.zeros((1, 7, 5, CHANNELS), "float32")
        for task in "abc":
            kernel = layer.task_kernel(task)
            assert kernel.dtype == np.float32
            # An image with one pixel set shows the kernel, turned round.
            if layer.routing == "task" or task == "a":
                image[0, 3, 2, 1] = 1
                seen = answer(layer, image, task)[0, 2:5, 1:4]
                np.testing.assert_allclose(
                    seen[::-1, ::-1], kernel[:, :, 1], **CLOSE
                )
            else:
                own = layer.owned(task)
                experts = [array(e) for e in layer.weights_of(task).experts]
                shares = [*oracle.sigmoid(array(own["router_bias"])), 1.0]
                expected = sum(
                    share * expert
                    for share, expert in zip(shares, experts, strict=True)
                )
                np.testing.assert_allclose(kernel, expected, **CLOSE)


@tensorflow_only
@pytest.mark.parametrize(
    "geometry",
    [name for name, value in GEOMETRIES.items() if "groups" not in value],
)
def test_gradients_of_grouped_and_patches_agree(geometry, rng):
    layers = []
    for form in FORMS:
        layer = grown(
            np.random.default_rng(3),
            implementation=form,
            **GEOMETRIES[geometry],
        )
        layers.append(layer)
    images = some_images(rng, layers[0])
    probe = rng.standard_normal(layers[0].compute_output_shape(images.shape))
    found = []
    for layer in layers:
        inputs = keras.Variable(images)
        weights = [*layer.variables, inputs]
        used = [v for v in weights if "/b_" not in v.path or "expert" in v.path]
        used = [v for v in used if v.path.rpartition("/")[2] != "a_bias"]

        def loss(layer=layer, inputs=inputs):
            y = layer(inputs.value, task="c")
            return ops.sum(y * ops.convert_to_tensor(probe, "float32"))

        found.append(gradients(loss, used))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        assert np.abs(one).max() > 0


@pytest.mark.parametrize("geometry", ["same", "valid_dilation", "strides"])
def test_gradients_equal_differences_of_the_oracle(geometry, rng):
    """Along one random direction, in float64, for all that task c uses."""
    layer = grown(rng, **GEOMETRIES[geometry])
    images = some_images(rng, layer)
    probe = rng.standard_normal(layer.compute_output_shape(images.shape))
    inputs = keras.Variable(images)
    own = layer.owned("c")
    variables = [
        *layer.weights_of("c").experts,
        own["router_kernel"],
        own["router_bias"],
        inputs,
    ]

    def loss():
        y = layer(inputs.value, task="c")
        return ops.sum(y * ops.convert_to_tensor(probe, "float32"))

    directions = [rng.standard_normal(tuple(v.shape)) for v in variables]
    found = sum(
        np.sum(gradient * direction)
        for gradient, direction in zip(
            gradients(loss, variables), directions, strict=True
        )
    )

    def at(step):
        values = [
            array(v).astype("float64") + step * direction
            for v, direction in zip(variables, directions, strict=True)
        ]
        *experts, kernel, bias, moved = values
        y = oracle.cond_conv(
            moved,
            experts,
            router=(kernel, bias),
            strides=layer.strides,
            padding=layer.padding,
            dilation=layer.dilation_rate,
        )
        return np.sum(y * probe)

    expected = (at(1e-5) - at(-1e-5)) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_unknown_numbers_of_pixels_work_where_the_form_allows(rng):
    layer = CondConv2D(FILTERS, 3, padding="same", routing="task", **DEFAULTS)
    layer.build((None, None, None, CHANNELS))
    layer.grow("a")
    layer.grow("b")
    images = keras.Input((None, None, CHANNELS))
    assert layer(images, task="b").shape == (None, None, None, FILTERS)


@jax_only
def test_the_grouped_form_is_refused_where_it_does_not_exist(rng):
    layer = grown(rng, kernel_size=3, implementation="grouped")
    with pytest.raises(ValueError, match="only TensorFlow has"):
        layer(some_images(rng, layer), task="c")


@tensorflow_only
@pytest.mark.parametrize("form", ["grouped", "patches", "auto"])
def test_it_runs_in_a_graph_whose_batch_is_not_known(form, rng):
    import tensorflow as tf

    layer = grown(rng, kernel_size=3, padding="same", implementation=form)
    images = some_images(rng, layer)
    signature = tf.TensorSpec((None, 7, 5, CHANNELS), "float32")
    graph = tf.function(
        lambda x: layer(x, task="c"), input_signature=[signature]
    )
    np.testing.assert_allclose(
        array(graph(images)), oracle.of_layer(layer, "c", images), **CLOSE
    )


@pytest.mark.parametrize("form", FORMS)
def test_mixed_precision_gives_float16_close_to_float32(form, rng):
    layers = []
    for policy in ("mixed_float16", "float32"):
        layer = grown(
            np.random.default_rng(4),
            kernel_size=3,
            padding="same",
            use_bias=True,
            implementation=form,
            dtype=policy,
        )
        layers.append(layer)
    half, single = layers
    images = some_images(rng, half)
    assert {v.dtype for v in half.variables} == {"float32"}
    for task in "ac":
        found, expected = half(images, task=task), single(images, task=task)
        assert keras.backend.standardize_dtype(found.dtype) == "float16"
        difference = np.abs(array(found).astype("float32") - array(expected))
        assert difference.max() < 0.02
