"""Growing CondConv2D: what is added, what is frozen, what never changes."""

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.layers.cond_conv import CondConv2D
from tests.backend import array, gradients, randomise, same_bits

CHANNELS, FILTERS = 3, 4
VARIANTS = {
    "published": {},
    "added": {"own_expert": "added"},
    "task": {"routing": "task"},
    "task_added": {"routing": "task", "own_expert": "added"},
    "mean": {"expert_start": "mean"},
    "patches": {"implementation": "patches"},
}


def new_layer(**arguments):
    arguments = {"kernel_initializer": "zeros", **arguments}
    layer = CondConv2D(FILTERS, 3, padding="same", **arguments)
    layer.build((None, 6, 5, CHANNELS))
    return layer


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, 6, 5, CHANNELS)).astype("float32")


@pytest.mark.parametrize("variant", VARIANTS)
def test_growth_and_training_leave_older_tasks_outputs_bit_equal(
    variant, images, rng
):
    layer = new_layer(**VARIANTS[variant])
    before = {}
    for task in "abcd":
        layer.grow(task)
        randomise(layer.owned(task).values(), rng)
        for older, output in before.items():
            assert same_bits(layer(images, task=older), output)
        before[task] = array(layer(images, task=task))
    assert len({output.tobytes() for output in before.values()}) == 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_nan_in_a_new_expert_does_not_reach_older_tasks(variant, images, rng):
    layer = new_layer(**VARIANTS[variant])
    for task in "ab":
        layer.grow(task)
        randomise(layer.owned(task).values(), rng)
    before = {task: array(layer(images, task=task)) for task in "ab"}
    layer.grow("c")
    for variable in layer.owned("c").values():
        variable.assign(np.full(variable.shape, np.nan, "float32"))
    assert np.isnan(array(layer(images, task="c"))).all()
    for task, output in before.items():
        assert np.isfinite(output).all()
        assert same_bits(layer(images, task=task), output)


@pytest.mark.parametrize("variant", VARIANTS)
def test_growing_freezes_all_that_is_older(variant):
    layer = new_layer(**VARIANTS[variant])
    for count, task in enumerate("abc", 1):
        layer.grow(task)
        own = layer.owned(task).values()
        assert {id(v) for v in layer.trainable_variables} == set(map(id, own))
        assert layer.tasks == tuple("abc")[:count]
    frozen = {id(v) for v in layer.non_trainable_variables}
    older = [v for task in "ab" for v in layer.owned(task).values()]
    assert frozen == {id(v) for v in older}


def test_gradients_reach_the_own_router_and_expert_only(images, rng):
    layer = new_layer()
    for task in "abc":
        layer.grow(task)
        randomise(layer.owned(task).values(), rng)
    variables = layer.trainable_variables
    assert len(variables) == 4

    def loss():
        return ops.sum(ops.square(layer(images, task="c")))

    for gradient in gradients(loss, variables):
        assert np.abs(gradient).max() > 0


def test_what_a_task_owns_and_what_it_is_called():
    owned = {}
    for variant, arguments in VARIANTS.items():
        layer = new_layer(name="conv", **arguments)
        layer.grow("a")
        layer.grow("b")
        owned[variant] = [set(layer.owned(task)) for task in "ab"]
        for task in "ab":
            for role, variable in layer.owned(task).items():
                assert variable.path == f"conv/{task}_{role}"
    router = {"router_kernel", "router_bias"}
    plain = {"expert", "bias"}
    assert owned["published"] == [plain, plain | router]
    assert owned["added"] == [plain, plain | router]
    assert owned["task"] == [plain, plain | {"router_logits"}]
    assert owned["task_added"] == [plain, plain | {"router_logits"}]


def test_a_task_uses_the_experts_that_it_was_given():
    layer = new_layer()
    for task in "abc":
        layer.grow(task)
    layer.grow("first", "first")
    layer.grow("two", ("c", "a"))
    layer.grow("none", ())
    experts = {task: layer.experts(task) for task in layer.tasks}
    assert experts == {
        "a": ("a",),
        "b": ("a", "b"),
        "c": ("a", "b", "c"),
        "first": ("a", "first"),
        "two": ("c", "a", "two"),
        "none": ("none",),
    }
    for task, used in experts.items():
        weights = layer.weights_of(task)
        assert len(weights.experts) == len(used)
        for name, expert in zip(used, weights.experts, strict=True):
            assert expert is layer.owned(name)["expert"]
        if task != "a":
            assert weights.router_bias.shape == (len(used),)


def test_experts_out_of_use_do_not_matter(images, rng):
    layer = new_layer()
    for task in "abc":
        layer.grow(task)
    layer.grow("d", ("a",))
    randomise(layer.variables, rng)
    before = array(layer(images, task="d"))
    for task in "bc":
        randomise(layer.owned(task).values(), rng)
    assert same_bits(layer(images, task="d"), before)


def test_an_added_expert_alone_is_a_plain_convolution(images, rng):
    layer = new_layer(own_expert="added")
    layer.grow("a")
    layer.grow("b", ())
    randomise(layer.variables, rng)
    assert set(layer.owned("b")) == {"expert", "bias"}
    layer.owned("a")["expert"].assign(layer.owned("b")["expert"])
    layer.owned("a")["bias"].assign(layer.owned("b")["bias"])
    assert same_bits(layer(images, task="a"), layer(images, task="b"))


def test_a_view_holds_its_task_s_variables_and_gives_the_same(images, rng):
    layer = new_layer()
    for task in "abc":
        layer.grow(task)
    layer.grow("d", ("b",))
    randomise(layer.variables, rng)
    for task in layer.tasks:
        view = layer.for_task(task)
        assert same_bits(view(images), layer(images, task=task))
        weights = layer.weights_of(task)
        expected = [*weights.experts, *weights[1:-1]]
        assert {id(v) for v in view.variables} == {
            id(v) for v in expected if v is not None
        }
        assert view.compute_output_shape(images.shape) == (*images.shape[:3], 4)
    assert layer.for_task("b").name == f"{layer.name}_b"
    assert layer.for_task("b", name="other").name == "other"


def test_a_plan_made_before_building_equals_growing_after_it(images):
    early = CondConv2D(FILTERS, 3, padding="same", kernel_initializer="zeros")
    for task, experts in (("a", "all"), ("b", "all"), ("c", "first")):
        early.grow(task, experts)
    early(images, task="c")
    assert early.tasks == ("a", "b", "c")
    assert early.experts("c") == ("a", "c")
    assert {id(v) for v in early.trainable_variables} == {
        id(v) for v in early.owned("c").values()
    }


def test_a_plan_keeps_the_initializers_that_it_was_given(images):
    asked = []

    def router(part, fan_in):
        asked.append((part, fan_in))
        return keras.initializers.Constant(2)

    layer = CondConv2D(FILTERS, 3, kernel_initializer="zeros")
    layer.grow("a", kernel_initializer="ones")
    layer.grow("b", router_initializer=router)
    layer.build(images.shape)
    assert (array(layer.owned("a")["expert"]) == 1).all()
    assert (array(layer.owned("b")["router_kernel"]) == 2).all()
    assert (array(layer.owned("b")["router_bias"]) == 2).all()
    assert asked == [("kernel", CHANNELS), ("bias", CHANNELS)]


def test_a_name_can_be_grown_once():
    for layer in (new_layer(), CondConv2D(FILTERS, 3)):
        layer.grow("a")
        with pytest.raises(ValueError, match=r"new task name.*task='a'"):
            layer.grow("a")


@pytest.mark.parametrize("experts", [("b",), ("a", "x"), "b"])
def test_unknown_experts_are_named_and_add_nothing(experts):
    layer = new_layer()
    layer.grow("a")
    with pytest.raises(ValueError, match=r"(task|experts)='[bx]'"):
        layer.grow("new", experts)
    assert layer.tasks == ("a",)
    assert len(layer.variables) == 2
    layer.grow("b")
    assert layer.experts("b") == ("a", "b")


def test_unknown_tasks_are_named(images):
    layer = new_layer()
    layer.grow("a")
    for use in (
        lambda: layer(images, task="z"),
        lambda: layer.experts("z"),
        lambda: layer.owned("z"),
        lambda: layer.weights_of("z"),
        lambda: layer.for_task("z"),
        lambda: layer.task_kernel("z"),
    ):
        with pytest.raises(ValueError, match=r"one of \('a',\).*task='z'"):
            use()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", "relu"),
        ("kernel_constraint", "unit_norm"),
        ("bias_constraint", "unit_norm"),
        ("activity_regularizer", "l2"),
    ],
)
def test_refused_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}.*Received: {name}='{value}'"):
        CondConv2D(FILTERS, 3, **{name: value})


@pytest.mark.parametrize(
    "argument",
    ["routing", "expert_start", "router_start", "own_expert", "implementation"],
)
def test_wrong_choices_are_named(argument):
    with pytest.raises(
        ValueError, match=f"`{argument}`.*Received: {argument}='wrong'"
    ):
        CondConv2D(FILTERS, 3, **{argument: "wrong"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 0},
        {"padding": "causal"},
        {"padding": "symmetric", "kernel_size": (3, 2)},
        {"strides": 2, "dilation_rate": 2},
        {"groups": 3},
        {"kernel_size": (3, 0)},
    ],
)
def test_what_a_keras_convolution_refuses_is_refused(arguments):
    arguments = {"filters": FILTERS, "kernel_size": 3, **arguments}
    with pytest.raises(ValueError, match="Received"):
        CondConv2D(**arguments)


@pytest.mark.parametrize("channels", [None, 3])
def test_channels_must_be_known_and_divisible_by_groups(channels):
    layer = CondConv2D(FILTERS, 3, groups=2)
    with pytest.raises(ValueError, match="groups=2"):
        layer.build((None, 6, 5, channels))


def test_regularizers_are_for_the_task_in_hand(rng):
    layer = new_layer(
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L2(0.25),
    )
    for task in "ab":
        layer.grow(task)
    randomise(layer.variables, rng)
    own = {name: array(value) for name, value in layer.owned("b").items()}
    expected = 0.5 * np.sum(own["expert"] ** 2) + 0.25 * np.sum(
        own["bias"] ** 2
    )
    total = sum(float(loss) for loss in layer.losses)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
