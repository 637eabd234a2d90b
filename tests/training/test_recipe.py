"""Learning rates over a phase, the smoothed loss, choices of a recipe."""

import math

import keras
import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.methods.base import Group, Phase
from cckeras.recipes import load_recipe
from cckeras.runs.records import EARLIER
from cckeras.training.phase import SmoothedCrossentropy
from cckeras.training.recipe import make_optimizer

STEPS = 5


def rates(**changes):
    """Return the learning rate of every step of a phase of eight epochs."""
    phase = Phase("train", None, 8, (Group("", "sgd", 0.2),), **changes)
    optimizer = make_optimizer(phase, STEPS, {})
    variable = keras.Variable(np.zeros(2, np.float32))
    found = []
    for _ in range(8 * STEPS):
        optimizer.build([variable])
        found.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.zeros(2)], [variable])
    return found


def test_steps_fall_after_their_epochs():
    expected = (
        [0.2] * (4 * STEPS) + [0.02] * (2 * STEPS) + [0.002] * (2 * STEPS)
    )
    found = rates(decay_epochs=(4, 6), decay_factor=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_phase_may_have_one_rate():
    np.testing.assert_allclose(rates(), 0.2, rtol=1e-6)


def test_a_cosine_falls_to_nothing():
    total = 8 * STEPS
    expected = [
        0.1 * (1 + math.cos(math.pi * step / total)) for step in range(total)
    ]
    found = rates(schedule="cosine")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_loss_agrees_with_a_slow_loop(rng, smoothing):
    logits = rng.normal(0, 3, (6, 4))
    labels = rng.integers(0, 4, 6)
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        total = sum(math.exp(value) for value in row)
        for place, value in enumerate(row):
            share = smoothing / 4 + (1 - smoothing) * (place == label)
            expected -= share * math.log(math.exp(value) / total) / 6
    loss = SmoothedCrossentropy(smoothing)
    received = float(loss(labels, logits.astype(np.float32)))
    assert received == pytest.approx(expected, rel=1e-5)


def test_choices_change_the_rest_of_a_recipe():
    full = load_recipe("imagenet50_5", "condconv", {})
    small = load_recipe("imagenet50_5", "condconv", {"size": "small"})
    assert (full["width"], full["schedule"]) == (64, "steps")
    assert (small["width"], small["schedule"]) == (32, "cosine")
    # What is given on the command line has the last word.
    own = {"size": "small", "width": "16"}
    assert load_recipe("imagenet50_5", "condconv", own)["width"] == 16
    with pytest.raises(InputError, match=r"size.*'small'"):
        load_recipe("imagenet50_5", "condconv", {"size": "smal"})


def test_routers_of_images_learn_slowly_on_a_pretrained_network():
    by_task, by_image = (
        load_recipe("fine_grained6", "condconv", {"routing": routing})
        for routing in ("task", "image")
    )
    assert (by_task["routing"], by_task["router_learning_rate"]) == (
        "task",
        1e-3,
    )
    assert (by_image["routing"], by_image["router_learning_rate"]) == (
        "image",
        1e-4,
    )
    with pytest.raises(InputError, match="routing"):
        load_recipe("fine_grained6", "finetune", {"routing": "image"})


def test_runs_of_earlier_versions_trained_as_the_defaults_do():
    config = load_recipe("digits5", "condconv", {})
    assert {key: config[key] for key in EARLIER} == EARLIER


def test_a_backbone_brings_its_normalisation():
    lite0, resnet = (
        load_recipe("fine_grained6", "condconv", {"backbone": name})
        for name in ("efficientnet_lite0", "resnet50")
    )
    assert lite0["mean"] != resnet["mean"]
    assert (lite0["backbone"], resnet["backbone"]) == (
        "efficientnet_lite0",
        "resnet50",
    )
