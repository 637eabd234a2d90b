"""condconv: experts, routers, sizes, phases (methods.md 3)."""

import re

import numpy as np
import pytest

from cckeras.methods.base import Task
from tests.backend import array, randomise
from tests.layers import oracle
from tests.methods.recipes import CLASSES, all_phases, grow, new_method, task

LAYERS = ("conv1", "conv2", "conv3", "conv4")
CHANNELS = (3, 64, 64, 64)


def condconv(**changes):
    return new_method("condconv", **changes)


def roles(method, number):
    """Return `{layer: set of variables}` of what a task owns."""
    found = {}
    for name in method.ledger.owned(number):
        _, layer, role = name.split("/")
        found.setdefault(layer, set()).add(role)
    return found


def test_what_a_task_owns():
    """Its expert in every layer, its routers, batch norms and head."""
    method = condconv()
    grow(method, 3)
    norm = {"gamma", "beta", "moving_mean", "moving_variance"}
    others = {f"norm{index}": norm for index in range(1, 5)}
    others["head"] = {"kernel", "bias"}
    assert roles(method, 1) == {**{key: {"expert"} for key in LAYERS}, **others}
    added = {"expert", "router_kernel", "router_bias"}
    for number in (2, 3):
        assert roles(method, number) == {
            **dict.fromkeys(LAYERS, added),
            **others,
        }


def test_a_new_task_starts_with_zero_experts_and_fresh_norms_and_head():
    method = condconv()
    grow(method, 2)
    for layer, channels in zip(LAYERS, CHANNELS, strict=True):
        own = {
            role: array(method.variables[f"b/{layer}/{role}"])
            for role in ("expert", "router_kernel", "router_bias")
        }
        assert not own["expert"].any()
        assert own["router_kernel"].shape == (channels, 2)
        assert own["router_bias"].shape == (2,)
        limit = np.float32(1 / np.sqrt(channels))
        for role in ("router_kernel", "router_bias"):
            assert 0 < np.abs(own[role]).max() <= limit
    for index in range(1, 5):
        assert (array(method.variables[f"b/norm{index}/gamma"]) == 1).all()
        assert not array(method.variables[f"b/norm{index}/beta"]).any()
    heads = [array(method.variables[f"{t}/head/kernel"]) for t in "ab"]
    assert not np.array_equal(*heads)


def test_parameters_per_task():
    """methods.md 3.5, for images of 32x32 and five classes."""
    method = condconv(image_size=32)
    grow(method, 4)
    fixed = 112_320 + 512 + 512 + 1_285
    assert method.ledger.size(1) == fixed
    for t in (2, 3, 4):
        routers = (3 + 64 + 64 + 64) * t + 4 * t
        assert method.ledger.size(t) == fixed + routers


def test_scratch_and_finetune_sizes():
    for name, networks in (("scratch", 1), ("finetune", 2)):
        method = new_method(name, image_size=32)
        grow(method, 2)
        for number in (1, 2):
            assert method.ledger.size(number) == networks * 114_629


@pytest.mark.parametrize(
    ("experts", "expected"),
    [
        ("all", ["a", "ab", "abc", "abcd"]),
        ("first", ["a", "ab", "ac", "ad"]),
    ],
)
def test_experts_in_use(experts, expected):
    method = condconv(experts=experts)
    tasks = grow(method, 4)
    for one, names in zip(tasks, expected, strict=True):
        assert method.uses(one) == tuple(names)
        assert method.structure(one) == {"experts": list(names[:-1])}
        for bank in method.banks.values():
            assert bank.experts(one.name) == tuple(names)


def test_a_network_is_made_of_the_files_of_the_tasks_that_it_uses():
    method = condconv(experts="first")
    grow(method, 3)
    in_use = {id(v) for v in method.task_model("c").variables}
    owners = {
        name.split("/")[0]
        for name, variable in method.variables.items()
        if id(variable) in in_use
    }
    assert owners == {"a", "c"}


def groups_of(phase):
    """Return `{variable path: (rule, learning rate, l2)}` of a phase."""
    found = {}
    for variable in phase.model.trainable_variables:
        group = next(
            g for g in phase.groups if re.search(g.pattern, variable.path)
        )
        found[variable.path] = group.rule, group.learning_rate, group.l2
    return found


def test_task_1_trains_as_scratch_and_later_ones_with_adam_for_routers():
    method = condconv()
    tasks = grow(method, 1)
    (phase,) = all_phases(method, tasks[0])
    assert set(groups_of(phase).values()) == {("sgd", 1e-2, 4e-5)}
    method = condconv()
    tasks = grow(method, 2)
    (phase,) = all_phases(method, tasks[1])
    groups = groups_of(phase)
    routers = {path for path in groups if "router" in path}
    assert len(routers) == 8
    for path, group in groups.items():
        if path in routers:
            assert group == ("adam", 1e-3, 0.0)
        else:
            assert group == ("sgd", 5e-3, 4e-5)


def test_a_task_s_name_does_not_choose_its_optimizer():
    method = condconv()
    grow(method, 1)
    odd = Task("router_bias", 2, CLASSES)
    method.grow(odd)
    (phase,) = all_phases(method, odd)
    for path, (rule, *_) in groups_of(phase).items():
        is_router = path.endswith(("_router_kernel", "_router_bias"))
        assert (rule == "adam") == is_router, path


def test_the_mean_start_takes_the_norms_mean_too(rng):
    method = condconv(expert_start="mean", routing="task")
    grow(method, 2)
    randomise(method.variables.values(), rng)
    method.grow(task(3))
    assert method.uses(task(3)) == ("a", "b", "c")
    for index in range(1, 5):
        for role in ("gamma", "beta", "moving_mean", "moving_variance"):
            name = f"norm{index}/{role}"
            earlier = [array(method.variables[f"{t}/{name}"]) for t in "ab"]
            np.testing.assert_allclose(
                array(method.variables[f"c/{name}"]),
                np.mean(earlier, 0),
                rtol=1e-6,
                atol=1e-7,
            )
    head = array(method.variables["c/head/kernel"])
    means = [array(method.variables[f"{t}/head/kernel"]) for t in "ab"]
    assert not np.allclose(head, np.mean(means, 0))


@pytest.mark.parametrize(
    "changes",
    [{}, {"routing": "task"}, {"own_expert": "added"}, {"experts": "first"}],
)
def test_routing_models_give_the_weights_of_every_routed_layer(changes, rng):
    method = condconv(**changes)
    grow(method, 3)
    randomise(
        [v for name, v in method.variables.items() if "router" in name], rng
    )
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("float32")
    assert method.routing("a") == {}
    for name in "bc":
        models = method.routing(name)
        assert tuple(models) == LAYERS
        used = method.banks["conv1"].experts(name)
        model = models["conv1"]
        found = array(model(images))
        assert found.shape == (2, len(used))
        own = {
            role: array(variable)
            for role, variable in method.banks["conv1"].owned(name).items()
        }
        if "router_logits" in own:
            expected = np.tile(oracle.sigmoid(own["router_logits"]), (2, 1))
        else:
            mean, std = method.config["mean"], method.config["std"]
            x = (images / 255 - mean) / std
            expected = oracle.sigmoid(
                x.mean((1, 2)) @ own["router_kernel"] + own["router_bias"]
            )
        if changes.get("own_expert") == "added":
            expected = np.concatenate([expected, np.ones((2, 1))], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
