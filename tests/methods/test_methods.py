"""What holds for every method: start, ownership, freezing, values, errors."""

import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.methods import METHODS, method_class
from tests.backend import array, randomise, same_bits
from tests.methods.recipes import all_phases, grow, new_method, task

EVERY = [
    ("condconv", {}),
    ("condconv", {"routing": "task", "own_expert": "added"}),
    ("condconv", {"experts": "first", "expert_start": "mean"}),
    ("scratch", {}),
    ("finetune", {}),
    ("finetune", {"sources": "previous"}),
    ("linear_probe", {}),
]
every = pytest.mark.parametrize(("name", "changes"), EVERY)


def test_every_method_is_tested_here():
    assert {name for name, _ in EVERY} == set(METHODS)
    for name, kind in METHODS.items():
        assert kind.name == name
        assert method_class(name) is kind


def start_of(method, prefix):
    """Return a task's initial values under the names of a plain network."""
    return {
        name.removeprefix(prefix).replace("/expert", "/kernel"): array(variable)
        for name, variable in method.variables.items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("seed", [0, 7])
def test_task_1_starts_from_the_same_values_in_all_methods(seed):
    starts = []
    for name, prefix in (
        ("scratch", "a/"),
        ("condconv", "a/"),
        ("finetune", "a/scratch/"),
    ):
        method = new_method(name, seed=seed)
        grow(method, 1)
        starts.append(start_of(method, prefix))
    first, *others = starts
    assert len(first) == 4 * 5 + 2
    for other in others:
        assert set(other) == set(first)
        for key, value in first.items():
            assert same_bits(value, other[key])


def test_task_1_gives_the_same_logits_in_all_methods(rng):
    images = rng.integers(0, 256, (3, 16, 16, 3)).astype("float32")
    logits = []
    for name in METHODS:
        method = new_method(name)
        grow(method, 1)
        model = method.task_model("a")
        logits.append(array(model(images, training=False)))
    assert logits[0].shape == (3, 5)
    assert all(same_bits(logits[0], other) for other in logits)


def test_other_seeds_and_tasks_start_from_other_values():
    kernels = set()
    for seed in (0, 1):
        method = new_method("scratch", seed=seed)
        grow(method, 2)
        kernels |= {
            array(method.variables[f"{name}/conv1/kernel"]).tobytes()
            for name in "ab"
        }
    assert len(kernels) == 4


@every
def test_a_task_owns_exactly_the_variables_that_it_added(name, changes):
    method = new_method(name, **changes)
    known = set()
    for number in (1, 2, 3):
        new = task(number)
        method.grow(new)
        added = set(method.variables) - known
        assert added
        assert all(key.startswith(f"{new.name}/") for key in added)
        owned = method.ledger.owned(number)
        assert set(owned) == added
        assert all(mask is True for mask in owned.values())
        for key in added:
            shape = tuple(method.variables[key].shape)
            assert method.ledger.shape(key) == shape
        known |= added
    assert list(method.tasks) == ["a", "b", "c"]


@every
def test_growing_freezes_all_earlier_tasks(name, changes):
    method = new_method(name, **changes)
    for number in (1, 2, 3):
        new = task(number)
        method.grow(new)
        for key, variable in method.variables.items():
            earlier = not key.startswith(f"{new.name}/")
            statistic = "/moving_" in key
            assert variable.trainable != (earlier or statistic), key


@every
def test_what_a_phase_trains_belongs_to_the_task(name, changes):
    method = new_method(name, **changes)
    for number in (1, 2, 3):
        new = task(number)
        method.grow(new)
        own = {id(method.variables[k]) for k in method.ledger.owned(number)}
        for phase in all_phases(method, new):
            trained = {id(v) for v in phase.model.trainable_variables}
            assert trained
            assert trained <= own


@every
def test_growth_and_new_values_leave_earlier_tasks_as_they_were(
    name, changes, rng
):
    method = new_method(name, **changes)
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("float32")
    before = {}
    for number in (1, 2, 3):
        new = task(number)
        method.grow(new)
        randomise([method.variables[k] for k in method.values(new)], rng, 0.1)
        for other, (digest, logits) in before.items():
            model = method.task_model(other.name)
            assert method.digest(other) == digest
            assert same_bits(model(images, training=False), logits)
        model = method.task_model(new.name)
        logits = array(model(images, training=False))
        before[new] = method.digest(new), logits
    assert len({digest for digest, _ in before.values()}) == 3


@every
def test_a_method_rebuilt_from_structures_and_values_is_the_same(
    name, changes, rng
):
    method = new_method(name, **changes)
    tasks = grow(method, 3)
    randomise(method.variables.values(), rng, 0.1)
    again = new_method(name, **changes)
    for one in tasks:
        again.grow(one, method.structure(one))
        again.assign(one, method.values(one))
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("float32")
    for one in tasks:
        assert again.digest(one) == method.digest(one)
        assert again.uses(one) == method.uses(one)
        assert same_bits(
            again.task_model(one.name)(images, training=False),
            method.task_model(one.name)(images, training=False),
        )


@every
def test_phases_follow_the_recipe(name, changes):
    method = new_method(name, **changes)
    for number in (1, 2):
        new = task(number)
        method.grow(new)
        for phase in all_phases(method, new):
            assert phase.epochs == (0 if phase.name == "copy" else 100)
            assert phase.decay_epochs == (50, 80)
            assert phase.decay_factor == 0.1
            assert phase.select == "best"
            last = phase.groups[-1]
            assert (last.pattern, last.rule, last.l2) == ("", "sgd", 4e-5)


@pytest.fixture
def grown():
    method = new_method("scratch")
    (only,) = grow(method, 1)
    return method, only


def test_values_are_copies(grown):
    method, only = grown
    before = method.digest(only)
    for value in method.values(only).values():
        value[...] = 5
    assert method.digest(only) == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda v: v.pop("a/head/bias"), "'a/head/bias' is missing"),
        (lambda v: v.update(extra=np.zeros(3)), "'extra' is unknown"),
        (
            lambda v: v.update({"a/head/bias": np.zeros(4, "float32")}),
            r"'a/head/bias'.*\(5,\).*\(4,\)",
        ),
    ],
)
def test_values_of_something_else_are_an_error(grown, change, problem):
    method, only = grown
    values = method.values(only)
    change(values)
    with pytest.raises(ValueError, match=problem):
        method.assign(only, values)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("condcov", "condconv"),
        ("finetuning", "finetune"),
        ("Scratch", "scratch"),
    ],
)
def test_an_unknown_method_gets_the_nearest_name(wrong, near):
    with pytest.raises(
        InputError, match=f"Received: '{wrong}'.*Did you mean '{near}'"
    ):
        method_class(wrong)


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(InputError) as error:
        method_class("zzz")
    assert "condconv, scratch, finetune" in str(error.value)
    assert "Did you mean" not in str(error.value)
