"""finetune: phases for every kind of sources, copies, fresh heads."""

import pytest

from tests.backend import array, randomise, same_bits
from tests.methods.recipes import all_phases, grow, new_method, task


def finetune(sources, count, rng):
    """Return a method grown by some tasks, all values random but the last's."""
    method = new_method("finetune", sources=sources)
    tasks = grow(method, count - 1)
    randomise(method.variables.values(), rng)
    new = task(count)
    method.grow(new)
    return method, [*tasks, new]


def values(method, prefix):
    return {
        name.removeprefix(prefix): array(variable)
        for name, variable in method.variables.items()
        if name.startswith(prefix)
        and not name.removeprefix(prefix).startswith("scratch/")
    }


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert same_bits(found[name], value), name


def summary(phases):
    return [
        (p.name, p.epochs, p.groups[-1].learning_rate, p.alternative)
        for p in phases
    ]


@pytest.mark.parametrize("sources", ["all", "best"])
def test_phases_from_every_earlier_scratch_network(sources, rng):
    for count, names in ((1, ""), (2, "a"), (4, "abc")):
        method, tasks = finetune(sources, count, rng)
        expected = [("scratch", 100, 1e-2, False)]
        if count == 1:
            expected.append(("copy", 0, 0.0, False))
        expected += [(f"from_{name}", 100, 5e-3, True) for name in names]
        assert summary(all_phases(method, tasks[-1])) == expected


def test_phases_from_the_previous_network(rng):
    for count, expected in (
        (1, ("train", 100, 1e-2, False)),
        (2, ("from_a", 100, 5e-3, True)),
        (4, ("from_c", 100, 5e-3, True)),
    ):
        method, tasks = finetune("previous", count, rng)
        assert summary(all_phases(method, tasks[-1])) == [expected]


def test_what_a_task_owns(rng):
    for sources, networks in (("all", 2), ("best", 2), ("previous", 1)):
        method, tasks = finetune(sources, 2, rng)
        owned = method.ledger.owned(2)
        assert len(owned) == networks * 22
        scratch = [name for name in owned if name.startswith("b/scratch/")]
        assert len(scratch) == (networks - 1) * 22
        assert method.uses(tasks[1]) == ("b",)


@pytest.mark.parametrize("sources", ["all", "best"])
def test_every_start_copies_its_source_s_trunk_and_takes_a_fresh_head(
    sources, rng
):
    method, tasks = finetune(sources, 3, rng)
    fresh = values(method, "c/")
    scratch = values(method, "c/scratch/")
    for phase in all_phases(method, tasks[-1])[1:]:
        # As the phase before may have left it.
        own = [v for k, v in method.variables.items() if k.startswith("c/")]
        scratch_own = values(method, "c/scratch/")
        randomise([v for v in own if "scratch" not in v.path], rng)
        for name, value in scratch_own.items():
            method.variables[f"c/scratch/{name}"].assign(value)
        phase.start(None)
        source = phase.name.removeprefix("from_")
        expected = values(method, f"{source}/scratch/")
        expected.update({k: v for k, v in fresh.items() if k[:5] == "head/"})
        assert_same(values(method, "c/"), expected)
        assert_same(values(method, "c/scratch/"), scratch)


def test_the_previous_network_is_the_fine_tuned_one(rng):
    method, tasks = finetune("previous", 3, rng)
    fresh = values(method, "c/")
    (phase,) = all_phases(method, tasks[-1])
    phase.start(None)
    expected = values(method, "b/")
    expected.update({k: v for k, v in fresh.items() if k[:5] == "head/"})
    assert_same(values(method, "c/"), expected)


def test_task_1_is_a_copy_of_its_scratch_network(rng):
    method, tasks = finetune("all", 1, rng)
    phases = all_phases(method, tasks[0])
    assert phases[0].start is None
    randomise(
        [v for k, v in method.variables.items() if k.startswith("a/scratch/")],
        rng,
    )
    phases[1].start(None)
    assert_same(values(method, "a/"), values(method, "a/scratch/"))


def test_scratch_trains_the_scratch_network_and_the_rest_the_other(rng):
    method, tasks = finetune("all", 2, rng)
    first, *others = all_phases(method, tasks[-1])
    trained = {id(v) for v in first.model.trainable_variables}
    expected = {
        id(v)
        for k, v in method.variables.items()
        if k.startswith("b/scratch/") and "/moving_" not in k
    }
    assert trained == expected
    assert all(p.model is method.task_model("b") for p in others)


def test_a_source_is_not_changed(rng):
    method, tasks = finetune("all", 3, rng)
    before = [method.digest(one) for one in tasks[:-1]]
    for phase in all_phases(method, tasks[-1])[1:]:
        phase.start(None)
        randomise(
            [v for k, v in method.variables.items() if k.startswith("c/")], rng
        )
        assert [method.digest(one) for one in tasks[:-1]] == before
