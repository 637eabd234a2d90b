"""Half precision, recomputed convolutions, accumulated gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from cckeras.methods import method_class
from cckeras.methods.base import Group, Phase
from cckeras.runs.run import Run
from cckeras.runs.unforgetting import probe_logits
from cckeras.task import Task
from cckeras.training.recipe import make_optimizer
from tests.runs.small import learn_digits, recipe

# Behind an expert of zeros there would be no gradient to compare.
START = {"condconv": {"expert_start": "copy"}, "scratch": {}}


def grown(method="condconv", **changes):
    made = method_class(method)(recipe(method, **changes))
    for number, name in enumerate(("one", "two"), 1):
        made.grow(Task(name, number, ("a", "b")))
    return made


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "run"
    learn_digits(path, recipe(precision="mixed_bfloat16", epochs=1))
    return Run.open(path)


@pytest.mark.parametrize("method", ["condconv", "linear_probe"])
def test_half_precision_computes_and_does_not_store(method):
    before = keras.config.dtype_policy().name
    made = grown(method, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before
    model = made.task_model("two")
    convolutions = [x for x in model.layers if x.name.startswith("conv")]
    assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
    assert {str(v.dtype) for v in made.variables.values()} == {"float32"}
    assert model.output.dtype == "float32"


def test_a_run_in_half_precision_is_the_same_again(half):
    for name in ("zero_one", "two_three"):
        probe = half.probe(name)
        logits = probe_logits(half.load().task_model(name), probe.images)
        assert logits.tobytes() == probe.logits.tobytes()


def test_its_networks_may_be_made_in_full_precision(half):
    probe = half.probe("two_three")
    method = half.load(precision="float32")
    logits = probe_logits(method.task_model("two_three"), probe.images)
    assert np.any(logits != probe.logits)
    np.testing.assert_allclose(logits, probe.logits, atol=0.3)


@pytest.mark.parametrize("method", ["condconv", "scratch"])
def test_recomputed_convolutions_give_the_same_gradients(rng, method):
    images = rng.uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
    found = []
    for recompute in (False, True):
        made = grown(method, recompute=recompute, **START[method])
        model = made.task_model("two")
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.train_on_batch(images, np.arange(8) % 2)
        found.append(made.values(made.tasks["two"]))
    kept, again = found
    for name, value in kept.items():
        np.testing.assert_allclose(again[name], value, atol=1e-6, err_msg=name)


def test_accumulated_gradients_are_averaged(rng):
    """Two batches and one step, as one batch of their mean gradient."""
    phase = Phase("train", None, 3, (Group("", "sgd", 0.1, 0.01),), (1,))
    values = rng.normal(size=(4, 3)).astype(np.float32)
    gradients = rng.normal(size=(4, 4, 3)).astype(np.float32)
    found = []
    for steps in (1, 2):
        variable = keras.Variable(values)
        optimizer = make_optimizer(phase, steps, {}, steps)
        for gradient in gradients.reshape(-1, 2 // steps, 4, 3).mean(1):
            optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        found.append(ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*found, atol=1e-6)
