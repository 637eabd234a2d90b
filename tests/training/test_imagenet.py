"""A run whose first task is ImageNet: weights come in, and stay as they are.

The weights are made up: the real ones are those of an extra.
"""

import keras
import numpy as np
import pytest

from cckeras.backbones import lite0_weights
from cckeras.data.lite0_package import MEAN, STD
from cckeras.errors import InputError
from cckeras.recipes import load_recipe
from cckeras.runs.run import Run
from cckeras.training import pretrained
from cckeras.training.imagenet import (
    IMAGENET,
    check_imagenet_start,
    imagenet_task,
)
from tests.backend import array, same_bits
from tests.methods.recipes import all_phases, new_method, task
from tests.runs.tiny import ENVIRONMENT

LITE0 = {
    "backbone": "efficientnet_lite0",
    "mean": list(MEAN),
    "std": list(STD),
    "image_size": 32,
    "pretrained": IMAGENET,
}
START = {"experts": "first", "router_start": "zeros"}


@pytest.fixture
def values(monkeypatch):
    """Made-up weights; pictures of 32x32 pixels are enough for them."""
    method = new_method("scratch", **LITE0)
    method.grow(imagenet_task())
    rng = np.random.default_rng(3)
    made = {}
    for name, variable in method.variables.items():
        value = rng.normal(0, 0.1, variable.shape)
        if name.endswith(("gamma", "moving_variance")):
            value = np.abs(value) + 0.5
        made[name.split("/", 1)[1]] = value.astype("float32")
    monkeypatch.setattr(pretrained, "imagenet_values", lambda: made)
    monkeypatch.setattr(pretrained, "check_imagenet_start", lambda config: None)
    return made


def adopted(folder, name, **changes):
    config = new_method(name, **{**LITE0, **changes}).config
    run = Run.create(folder, name, "image_folder", config)
    method = run.new_method()
    pretrained.adopt_first_task(run, method, IMAGENET, ENVIRONMENT)
    return Run.open(folder), method


@pytest.mark.parametrize("name", ["condconv", "scratch", "finetune"])
def test_every_method_begins_with_the_weights(tmp_path, values, name):
    changes = {"sources": "first"} if name == "finetune" else {}
    run, _ = adopted(tmp_path, name, **changes)
    record = run.record(IMAGENET)
    assert record["pretrained_from"] == IMAGENET
    assert record["phases"] == []
    assert len(record["classes"]) == 1000
    restored = run.load()
    for key, value in values.items():
        stored = restored.variables.get(
            f"imagenet/{key}",
            restored.variables.get(f"imagenet/{key[:-6]}expert"),
        )
        np.testing.assert_array_equal(array(stored), value)


@pytest.mark.parametrize(
    "changes",
    [
        {"routing": "task", "own_expert": "added"},
        {"routing": "image"},
        {"routing": "image", "expert_start": "copy"},
    ],
    ids=str,
)
def test_a_new_task_begins_as_the_first_and_leaves_it(
    tmp_path, values, rng, changes
):
    _, method = adopted(tmp_path, "condconv", **START, **changes)
    before = {key: array(v) for key, v in method.variables.items()}
    images = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    logits = array(method.task_model(IMAGENET)(images))
    method.grow(task(2))
    features = [
        array(
            keras.Model(model.input, model.get_layer("features").output)(images)
        )
        for model in map(method.task_model, (IMAGENET, "b"))
    ]
    # Not to the bit: the norms' epsilon is not scaled.
    np.testing.assert_allclose(*features, rtol=0.05, atol=0.02)
    for name in method.ledger.owned(2):
        variable = method.variables[name]
        variable.assign(np.full(variable.shape, np.nan))
    assert same_bits(array(method.task_model(IMAGENET)(images)), logits)
    for key, value in before.items():
        assert same_bits(method.variables[key], value)


def test_finetuning_may_start_from_the_first_task(tmp_path, values):
    _, method = adopted(tmp_path, "finetune", sources="first")
    for number in (2, 3):
        new = task(number)
        method.grow(new)
        (phase,) = all_phases(method, new)
        assert phase.name == "from_imagenet"
        phase.start(None)
        kernel = method.variables[f"{new.name}/stem_conv/kernel"]
        np.testing.assert_array_equal(array(kernel), values["stem_conv/kernel"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("backbone", "conv4"), ("image_size", 64), ("std", [0.2, 0.2, 0.2])],
)
def test_another_network_is_refused(key, value):
    config = {**LITE0, "image_size": 96}
    check_imagenet_start(config)
    with pytest.raises(InputError, match=rf"--config\.{key}.*Received: "):
        check_imagenet_start({**config, key: value})


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("method", ["condconv", "scratch", "finetune"])
def test_it_is_the_default_where_the_weights_are(
    monkeypatch, installed, method
):
    monkeypatch.setattr(
        "cckeras.configs.image_folder.installed", lambda: installed
    )
    config = load_recipe("image_folder", method, {})
    assert config["pretrained"] == (IMAGENET if installed else "")
    if installed:
        check_imagenet_start(config)


def test_the_file_s_names_lead_to_every_layer(values):
    theirs = {}
    for ours, name in lite0_weights._layers():
        for key, value in values.items():
            layer, part = key.rsplit("/", 1)
            if layer == ours:
                if part == "kernel":
                    turn = (2, 3, 0, 1) if "depthwise" in ours else (3, 2, 0, 1)
                    value = value.transpose(turn)
                part = lite0_weights.NORM.get(part, "weight")
                theirs[f"{name}.{part}"] = value
    theirs["_fc.weight"] = values["head/kernel"].T
    theirs["_fc.bias"] = values["head/bias"]
    found = lite0_weights.named_as_here(theirs)
    assert set(found) == set(values)
    for key, value in values.items():
        np.testing.assert_array_equal(found[key], value)
