"""linear_probe: a frozen network, a head a task."""

import numpy as np
import pytest

from tests.backend import array, same_bits
from tests.methods.recipes import all_phases, grow, new_method, task


@pytest.fixture
def method():
    method = new_method("linear_probe")
    grow(method, 2)
    return method


def test_a_later_task_owns_a_head_alone(method):
    owned = method.ledger.owned(2)
    assert sorted(owned) == ["b/head/bias", "b/head/kernel"]
    assert method.uses(method.tasks["b"]) == ("a", "b")
    model = method.task_model("b")
    assert [v.path for v in model.trainable_variables] == [
        method.variables[name].path for name in ("b/head/kernel", "b/head/bias")
    ]


def test_its_logits_are_the_first_network_s_features_times_its_head(
    method, rng
):
    images = rng.uniform(0, 255, (3, 16, 16, 3)).astype("float32")
    first = method.task_model("a")
    features = array(
        type(first)(first.input, first.get_layer("head").input)(images)
    )
    kernel, bias = (
        array(method.variables[f"b/head/{part}"]) for part in ("kernel", "bias")
    )
    np.testing.assert_allclose(
        array(method.task_model("b")(images)),
        features @ kernel + bias,
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_norms_of_the_frozen_network_do_not_move(method, rng):
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    before = {
        name: array(variable)
        for name, variable in method.variables.items()
        if name.startswith("a/")
    }
    method.task_model("b")(images, training=True)
    for name, value in before.items():
        assert same_bits(array(method.variables[name]), value), name


def test_it_has_one_phase_a_task():
    method = new_method("linear_probe")
    rates = []
    for number in (1, 2):
        new = task(number)
        method.grow(new)
        (phase,) = all_phases(method, new)
        rates.append(phase.groups[-1].learning_rate)
    assert rates == [1e-2, 5e-3]
