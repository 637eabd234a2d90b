"""MaskedOptimizer against NumPy's rules, and bits that may not change."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cckeras.training.masked_optimizer import MaskedOptimizer, OptimizerGroup
from tests.backend import array, same_bits

SHAPES = {"conv_kernel": (2, 3), "conv_router": (4,), "head_bias": (3,)}
# Bits that an addition of zero, or a product with a mask, would change.
ODD = np.array([-0.0, 1e-42, np.nan, np.inf, -np.inf], np.float32)


def sgd(learning_rate=0.1, **changes):
    arguments = {"momentum": 0.9, "nesterov": True, **changes}
    return keras.optimizers.SGD(learning_rate, **arguments)


def adam(learning_rate=0.01):
    return keras.optimizers.Adam(learning_rate, 0.9, 0.999, 1e-8)


def new_variables(values):
    return [keras.Variable(values[name], name=name) for name in SHAPES]


def sgd_rule(value, gradients, l2):
    """Nesterov's momentum as published: buffer, then a look ahead."""
    value = value.astype(np.float64)
    buffer = np.zeros_like(value)
    for gradient in gradients:
        gradient = gradient + l2 * value
        buffer = 0.9 * buffer + gradient
        value = value - 0.1 * (gradient + 0.9 * buffer)
    return value


def adam_rule(value, gradients, l2):
    """Kingma and Ba's Adam, in the form at the end of their section 2."""
    value = value.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, gradient in enumerate(gradients, 1):
        gradient = gradient + l2 * value
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - rate * mean / (np.sqrt(square) + 1e-8)
    return value


RULES = {"sgd": (sgd, sgd_rule), "adam": (adam, adam_rule)}


@given(
    masks=st.fixed_dictionaries(
        {
            name: st.none() | arrays(bool, shape)
            for name, shape in SHAPES.items()
        }
    ),
    seed=st.integers(0, 2**16),
    steps=st.integers(1, 4),
    rules=st.tuples(*[st.sampled_from(sorted(RULES))] * 2),
    l2=st.tuples(*[st.sampled_from([0.0, 0.05])] * 2),
)
def test_foreign_bits_stay_and_own_elements_follow_the_published_rule(
    masks, seed, steps, rules, l2
):
    rng = np.random.default_rng(seed)
    start, gradients = {}, {}
    for name, shape in SHAPES.items():
        start[name] = rng.standard_normal(shape).astype(np.float32)
        if masks[name] is not None:
            foreign = rng.choice(ODD, shape)
            start[name] = np.where(masks[name], start[name], foreign)
        gradients[name] = rng.standard_normal((steps, *shape)).astype("float32")
    groups = [
        OptimizerGroup(pattern, RULES[rule][0](), decay)
        for pattern, rule, decay in zip(("router", ""), rules, l2, strict=True)
    ]
    given_masks = {k: m for k, m in masks.items() if m is not None}
    optimizer = MaskedOptimizer(groups, given_masks)
    variables = new_variables(start)
    for step in range(steps):
        optimizer.apply(
            [
                keras.ops.convert_to_tensor(gradients[name][step])
                for name in SHAPES
            ],
            variables,
        )
    for variable in variables:
        name = variable.name
        mask = masks[name]
        mask = np.ones(SHAPES[name], bool) if mask is None else mask
        found = array(variable)
        assert found[~mask].tobytes() == start[name][~mask].tobytes()
        group = 0 if "router" in name else 1
        rule = RULES[rules[group]][1]
        expected = rule(start[name][mask], gradients[name][:, mask], l2[group])
        np.testing.assert_allclose(found[mask], expected, rtol=1e-5, atol=1e-6)


def random_start(rng):
    return {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


MASKS = {
    "conv_kernel": np.array([[True, False, True], [False, False, True]]),
    "head_bias": np.array([0, 1, 1]),
}


def new_optimizer(masks=MASKS):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 4], [0.1, 0.01, 0.001]
    )
    return MaskedOptimizer(
        [
            OptimizerGroup("router", adam(), 0.0),
            OptimizerGroup("", sgd(schedule), 0.05),
        ],
        masks,
    )


def random_steps(rng, steps):
    return [
        [
            keras.ops.convert_to_tensor(gradient)
            for gradient in random_start(rng).values()
        ]
        for _ in range(steps)
    ]


@pytest.mark.parametrize("before", [0, 1, 3, 6])
def test_a_restored_state_goes_on_bit_for_bit(before, rng):
    start = random_start(rng)
    steps = random_steps(rng, 6)
    whole, variables = new_optimizer(), new_variables(start)
    whole.build(variables)
    for gradients in steps:
        whole.apply(gradients, variables)

    first, half = new_optimizer(), new_variables(start)
    first.build(half)
    for gradients in steps[:before]:
        first.apply(gradients, half)
    values = {variable.name: array(variable) for variable in half}
    state = [array(variable) for variable in first.variables]
    del first, half

    second, resumed = new_optimizer(), new_variables(values)
    second.build(resumed)
    for variable, value in zip(second.variables, state, strict=True):
        variable.assign(value)
    for gradients in steps[before:]:
        second.apply(gradients, resumed)
    for one, other in zip(resumed, variables, strict=True):
        assert same_bits(one, other)
    for one, other in zip(second.variables, whole.variables, strict=True):
        assert same_bits(one, other)
    assert int(second.iterations) == 6


def test_every_variable_of_every_group_is_part_of_the_state(rng):
    optimizer = new_optimizer()
    optimizer.build(new_variables(random_start(rng)))
    numbers = sum(np.prod(v.shape, dtype=int) for v in optimizer.variables)
    slots = 2 * 4 + 6 + 3
    # Each of the three optimizers counts; two of them hold a plain rate.
    assert numbers == slots + 3 + 2


def test_the_first_group_that_matches_takes_the_variable(rng):
    start = random_start(rng)
    variables = new_variables(start)
    optimizer = MaskedOptimizer(
        [
            OptimizerGroup("router$", sgd(1.0, momentum=0.0, nesterov=False)),
            OptimizerGroup("^conv", sgd(10.0, momentum=0.0, nesterov=False)),
            OptimizerGroup("", sgd(100.0, momentum=0.0, nesterov=False)),
        ]
    )
    ones = [np.ones(shape, np.float32) for shape in SHAPES.values()]
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in ones], variables)
    moved = {v.name: start[v.name] - array(v) for v in variables}
    for name, rate in (
        ("conv_router", 1),
        ("conv_kernel", 10),
        ("head_bias", 100),
    ):
        np.testing.assert_allclose(moved[name], rate, rtol=1e-5)


def test_a_variable_without_a_group_is_an_error_that_names_it(rng):
    optimizer = MaskedOptimizer(
        [OptimizerGroup("^conv", sgd()), OptimizerGroup("router", adam())]
    )
    with pytest.raises(
        ValueError, match=r"'head_bias'.*none of \['\^conv', 'router'\]"
    ):
        optimizer.build(new_variables(random_start(rng)))


def test_a_group_without_variables_is_no_error(rng):
    start = random_start(rng)
    optimizer = MaskedOptimizer(
        [OptimizerGroup("nothing", adam()), OptimizerGroup("", sgd())]
    )
    variables = new_variables(start)
    optimizer.apply(random_steps(rng, 1)[0], variables)
    assert not same_bits(variables[0], start["conv_kernel"])


def test_the_learning_rate_is_the_first_group_s():
    assert float(new_optimizer().learning_rate) == pytest.approx(0.01)


def test_config_round_trip_keeps_groups_rules_and_masks(rng):
    optimizer = new_optimizer()
    content = json.dumps(keras.optimizers.serialize(optimizer))
    again = keras.optimizers.deserialize(json.loads(content))
    assert isinstance(again, MaskedOptimizer)
    assert json.dumps(keras.optimizers.serialize(again)) == content
    assert [group.pattern for group in again.groups] == ["router", ""]
    assert [group.l2 for group in again.groups] == [0.0, 0.05]
    start = random_start(rng)
    steps = random_steps(rng, 5)
    results = []
    for one in (optimizer, again):
        variables = new_variables(start)
        for gradients in steps:
            one.apply(gradients, variables)
        results.append(variables)
    for one, other in zip(*results, strict=True):
        assert same_bits(one, other)


def new_model(rng, dtype=None):
    """Return a small network, and the mask and start of its first kernel."""
    hidden = keras.layers.Dense(
        3, "relu", name="hidden", kernel_initializer="ones", dtype=dtype
    )
    head = keras.layers.Dense(
        2, name="head_router", kernel_initializer="ones", dtype=dtype
    )
    # Not `Sequential`, which names its variables otherwise when it is loaded.
    inputs = keras.Input((4,))
    model = keras.Model(inputs, head(hidden(inputs)))
    start = rng.standard_normal((4, 3)).astype(np.float32)
    mask = rng.random((4, 3)) < 0.5
    start[~mask] = rng.choice(ODD[:2], (~mask).sum())
    hidden.kernel.assign(start)
    return model, {hidden.kernel.path: mask}, start


def fit(model, masks, rng, epochs=2):
    x = rng.standard_normal((22, 4)).astype(np.float32)
    y = rng.standard_normal((22, 2)).astype(np.float32)
    optimizer = MaskedOptimizer(
        [OptimizerGroup("router", adam()), OptimizerGroup("", sgd(), 0.01)],
        masks,
    )
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, shuffle=False)
    return optimizer


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_compiled_fit_trains_own_elements_and_no_others(dtype, rng):
    model, masks, start = new_model(rng, dtype)
    (mask,) = masks.values()
    before = [array(v) for v in model.trainable_variables]
    optimizer = fit(model, masks, rng)
    found = array(model.get_layer("hidden").kernel)
    assert found[~mask].tobytes() == start[~mask].tobytes()
    assert (found[mask] != start[mask]).all()
    assert np.isfinite(found).all()
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert not same_bits(variable, value)
    assert int(optimizer.iterations) == 6


def test_masks_survive_a_keras_file(rng, tmp_path):
    model, masks, start = new_model(rng)
    (mask,) = masks.values()
    fit(model, masks, rng, epochs=1)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    own = array(again.get_layer("hidden").kernel)[mask]
    x = np.ones((8, 4), np.float32)
    again.fit(x, np.ones((8, 2), np.float32), verbose=0)
    found = array(again.get_layer("hidden").kernel)
    assert found[~mask].tobytes() == start[~mask].tobytes()
    assert (found[mask] != own).any()


def test_a_mask_of_an_unknown_variable_is_refused():
    variable = keras.Variable(np.zeros(2, "float32"), name="kernel")
    groups = [OptimizerGroup("", keras.optimizers.SGD(0.1))]
    optimizer = MaskedOptimizer(groups, {"dense/kernel": np.ones(2)})
    with pytest.raises(ValueError, match="dense/kernel"):
        optimizer.build([variable])
