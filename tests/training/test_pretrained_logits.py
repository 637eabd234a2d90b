"""A run's first task from a weights file has that network's logits."""

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from cckeras.errors import InputError
from cckeras.recipes import load_recipe
from cckeras.runs.environment import environment
from cckeras.runs.run import Run
from cckeras.runs.verify import verify_run
from cckeras.training import keras_weights
from cckeras.training.pretrained import adopt_first_task
from tests.backend import array
from tests.training.resnet_oracle import logits, random_state


def adopted(path, source, method, **changes):
    """Return a run that began from a file, opened anew, and its network."""
    texts = {key: str(value) for key, value in changes.items()}
    config = load_recipe("image_folder", method, texts)
    run = Run.create(path, method, "image_folder", config)
    here = environment(0)
    adopt_first_task(run, run.new_method(), str(source), here)
    run = Run.open(path)
    assert all(verdict.holds for verdict in verify_run(run, here))
    return run, run.load().task_model(run.tasks[0].name)


def pictures(rng, size):
    return rng.integers(0, 256, (3, size, size, 3)).astype("float32")


def check_torchvision(tmp_path, rng, name, size, method):
    state = random_state(name, 7, rng, large_stem=name == "resnet50")
    save_file(state, tmp_path / "file.safetensors")
    run, model = adopted(
        tmp_path / "run",
        tmp_path / "file.safetensors",
        method,
        backbone=name,
        image_size=size,
    )
    images = pictures(rng, size)
    mean, std = run.config["mean"], run.config["std"]
    expected = logits(
        name, state, (images / 255.0 - mean) / std, name == "resnet50"
    )
    assert 0.3 < expected.std() < 30
    received = array(model(images, training=False))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)
    return run


@pytest.mark.parametrize("method", ["condconv", "finetune"])
def test_resnet18_by_torchvision_s_names(tmp_path, rng, method):
    run = check_torchvision(tmp_path, rng, "resnet18", 32, method)
    record = run.records[0]
    assert record["name"] == "pretrained"
    assert record["classes"] == [f"class {place}" for place in range(7)]
    assert len(record["pretrained_from"]) == 64
    assert record["data"] is None
    assert set(record["metrics"].values()) == {None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "method"), [(64, "condconv"), (75, "scratch")]
)
def test_resnet50_by_torchvision_s_names(tmp_path, rng, size, method):
    check_torchvision(tmp_path, rng, "resnet50", size, method)


def random_keras_network(size, classes, rng):
    model = keras.applications.ResNet50(
        weights=None,
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
    )
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name == "kernel":
            value = (
                rng.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5
            )
            if "conv1_conv" in variable.path:
                value /= 64  # It sees pixels.
        elif variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.3, 0.9, shape)
        else:
            value = 0.3 * rng.standard_normal(shape)
        variable.assign(value.astype("float32"))
    return model


def check_keras(tmp_path, model, source, size, images, **changes):
    run, ours = adopted(
        tmp_path / "run",
        source,
        "condconv",
        backbone="resnet50_v1",
        mean=keras_weights.MEAN,
        image_size=size,
        **changes,
    )
    preprocess = keras.applications.resnet.preprocess_input
    expected = array(model(preprocess(images.copy()), training=False))
    assert 0.3 < expected.std() < 30
    received = array(ours(images, training=False))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 75])
def test_resnet50_v1_from_a_file_of_keras(tmp_path, rng, size):
    model = random_keras_network(size, 7, rng)
    model.save_weights(tmp_path / "file.weights.h5")
    check_keras(
        tmp_path, model, tmp_path / "file.weights.h5", size, pictures(rng, size)
    )


@pytest.mark.slow
def test_resnet50_v1_from_keras_imagenet_weights(tmp_path, rng, monkeypatch):
    model = random_keras_network(64, 1000, rng)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    kept = tmp_path / "models" / keras_weights.DOWNLOAD.rpartition("/")[2]
    kept.parent.mkdir()
    kept.touch()  # Stands for the file that Keras has downloaded before.
    monkeypatch.setattr(
        keras.applications, "ResNet50", lambda classifier_activation: model
    )
    run = check_keras(tmp_path, model, "imagenet", 64, pictures(rng, 64))
    assert run.records[0]["name"] == "imagenet"
    assert run.records[0]["pretrained_from"] == "imagenet"


def test_without_a_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(request, timeout):
        raise OSError("no route\nto host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(
        InputError, match=r"^Expected ImageNet weights.*no route to host\. Put "
    ):
        adopted(
            tmp_path / "run",
            "imagenet",
            "scratch",
            backbone="resnet50_v1",
            mean=keras_weights.MEAN,
        )
