"""Weights files that are wrong: one line that names file and tensor."""

import os
import pickle
import re

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from cckeras.errors import InputError
from cckeras.training.keras_weights import MEAN
from cckeras.training.weights_files import open_weights

CONFIG = {
    "backbone": "resnet18",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
# Of a network of one convolution.
SHAPES = {
    "stem_conv/kernel": (3, 3, 3, 4),
    "stem_norm/gamma": (4,),
    "stem_norm/beta": (4,),
    "stem_norm/moving_mean": (4,),
    "stem_norm/moving_variance": (4,),
    "head/kernel": (4, 5),
    "head/bias": (5,),
}


def ones(*shape):
    return np.ones(shape, np.float32)


def torchvision():
    return {
        "conv1.weight": ones(4, 3, 3, 3),
        **{
            f"bn1.{part}": ones(4)
            for part in ("weight", "bias", "running_mean", "running_var")
        },
        "bn1.num_batches_tracked": np.array(3, np.int64),
        "fc.weight": ones(5, 4),
        "fc.bias": ones(5),
    }


def keras_layers():
    return {
        "conv1_conv": [ones(3, 3, 3, 4), ones(4)],
        "conv1_bn": [ones(4) for _ in range(4)],
        "predictions": [ones(4, 5), ones(5)],
    }


def save_h5(layers, path):
    with h5py.File(path, "w") as file:
        for number, (name, arrays) in enumerate(layers.items()):
            group = file.create_group(f"layers/layer_{number}/vars")
            group.attrs["name"] = name
            for place, value in enumerate(arrays):
                group[str(place)] = value


def read(path, backbone="resnet18", shapes=SHAPES, **changes):
    config = {**CONFIG, "backbone": backbone, **changes}
    with open_weights(str(path), config) as weights:
        assert weights.classes == 5
        return weights.values(shapes)


def read_keras(path):
    return read(path, "resnet50_v1", mean=MEAN)


def refused(path, reader, *says):
    with pytest.raises(InputError) as caught:
        reader(path)
    text = str(caught.value)
    assert re.fullmatch(r"Expected .+ Received: .+\.", text), text
    assert len(text) < 800
    for part in (str(path), *says):
        assert part in text, text


def test_both_kinds_are_read(tmp_path):
    save_file(torchvision(), tmp_path / "file")
    assert {k: v.shape for k, v in read(tmp_path / "file").items()} == SHAPES
    save_h5(keras_layers(), tmp_path / "file.h5")
    values = read_keras(tmp_path / "file.h5")
    assert {k: v.shape for k, v in values.items()} == SHAPES
    # Its bias of one is taken from its mean of one.
    np.testing.assert_array_equal(values["stem_norm/moving_mean"], 0)
    np.testing.assert_allclose(
        values["stem_conv/kernel"][0, 0, :, 0], np.multiply(255, CONFIG["std"])
    )


def test_layers_have_the_names_that_keras_gives_them(tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv1_conv")(image)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(5, name="predictions")(x)
    keras.Model(image, x).save_weights(tmp_path / "file.weights.h5")
    assert set(read_keras(tmp_path / "file.weights.h5")) == set(SHAPES)


def test_half_and_double_precision_become_float32(tmp_path):
    tensors = torchvision()
    tensors["fc.bias"] = tensors["fc.bias"].astype("float16")
    tensors["bn1.bias"] = tensors["bn1.bias"].astype("float64")
    save_file(tensors, tmp_path / "file")
    values = read(tmp_path / "file")
    assert {value.dtype for value in values.values()} == {np.dtype("float32")}


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


TENSORS = {
    "missing": (without(torchvision(), "bn1.weight"), "'bn1.weight'", "none"),
    "no head": (without(torchvision(), "fc.weight"), "'fc.weight'", "none"),
    "shape": (
        {**torchvision(), "conv1.weight": ones(4, 3, 7, 7)},
        "'conv1.weight'",
        "(4, 3, 3, 3)",
        "(4, 3, 7, 7)",
        "resnet18",
    ),
    "axes": ({**torchvision(), "fc.weight": ones(5)}, "'fc.weight'", "2 axes"),
    "another network's": (
        {**torchvision(), "layer3.22.conv1.weight": ones(1)},
        "'layer3.22.conv1.weight'",
    ),
    "nan": (
        {**torchvision(), "fc.bias": ones(5) * np.nan},
        "'fc.bias'",
        "finite",
        "nan",
    ),
    "overflow": (
        {**torchvision(), "fc.bias": ones(5) * np.inf},
        "'fc.bias'",
        "inf",
    ),
    "negative variance": (
        {**torchvision(), "bn1.running_var": -ones(4)},
        "'bn1.running_var'",
        "0 or more",
        "-1",
    ),
    "whole numbers": (
        {**torchvision(), "fc.bias": np.ones(5, np.int8)},
        "'fc.bias'",
        "float32",
    ),
    "one class": (
        {**torchvision(), "fc.weight": ones(1, 4)},
        "2 to 100000 classes",
        "1",
    ),
}


@pytest.mark.parametrize("tensors", TENSORS.values(), ids=TENSORS)
def test_wrong_tensors_of_safetensors(tmp_path, tensors):
    tensors, *says = tensors
    save_file(tensors, tmp_path / "file")
    refused(tmp_path / "file", read, *says)


LAYERS = {
    "missing layer": (without(keras_layers(), "conv1_bn"), "'conv1_bn/gamma'"),
    "no head": (without(keras_layers(), "predictions"), "predictions/kernel"),
    "no bias": (
        {**keras_layers(), "conv1_conv": [ones(3, 3, 3, 4)]},
        "'conv1_conv/bias'",
    ),
    "shape": (
        {**keras_layers(), "conv1_conv": [ones(7, 7, 3, 4), ones(4)]},
        "'conv1_conv/kernel'",
        "(3, 3, 3, 4)",
        "(7, 7, 3, 4)",
    ),
    "another network's": (
        {**keras_layers(), "conv4_block23_1_conv": [ones(1)]},
        "'conv4_block23_1_conv/kernel'",
    ),
    "nan": (
        {**keras_layers(), "conv1_bn": [ones(4)] * 3 + [ones(4) * np.nan]},
        "'conv1_bn/moving_variance'",
        "nan",
    ),
    "text": (
        {**keras_layers(), "predictions": [ones(4, 5), [b"x"] * 5]},
        "'predictions/bias'",
        "float32",
    ),
    "no layers": ({}, ".weights.h5 of Keras 3", "save_weights"),
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_wrong_tensors_of_keras(tmp_path, layers):
    layers, *says = layers
    save_h5(layers, tmp_path / "file")
    refused(tmp_path / "file", read_keras, *says)


def test_a_file_of_keras_does_not_lead_into_other_files(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    save_h5(keras_layers(), path)
    save_h5(keras_layers(), other)
    place = "layers/layer_2/vars/1"
    with h5py.File(path, "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(other), place)
    refused(path, read_keras, "'predictions/bias'", "none")
    (tmp_path / "raw").write_bytes(bytes(20))
    with h5py.File(path, "a") as file:
        del file[place]
        file["layers/layer_2/vars"].create_dataset(
            "1", (5,), "f4", external=[(str(tmp_path / "raw"), 0, 20)]
        )
    refused(path, read_keras, "in other files")


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.98])
def test_truncated_files(tmp_path, kept):
    for save, tensors, reader in (
        (save_file, torchvision(), read),
        (save_h5, keras_layers(), read_keras),
    ):
        path = tmp_path / save.__name__
        save(tensors, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        refused(path, reader, "damaged or truncated", "again")


class Hostile:
    """What a pickle runs when it is read."""

    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("ending", ["pth", "safetensors", "weights.h5"])
def test_a_pickle_is_never_read(tmp_path, ending):
    path = tmp_path / f"file.{ending}"
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
    refused(path, read, "pickle", "never read", "safetensors.torch.save_file")
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    refused(path, read_keras, "zip", "save_weights")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"weights", bytes(1000)])
def test_other_files(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    refused(tmp_path / "file", read, "neither HDF5 nor safetensors")


def test_a_missing_file(tmp_path):
    refused(tmp_path / "file", read, "missing", "Check the path")


def test_the_backbone_must_be_the_file_s(tmp_path):
    save_file(torchvision(), tmp_path / "file")
    save_h5(keras_layers(), tmp_path / "file.h5")
    for backbone in ("conv4", "resnet50_v1"):
        refused(
            tmp_path / "file",
            lambda path, name=backbone: read(path, name),
            "--config.backbone=resnet18 or resnet50",
            f"Received: {backbone}",
        )
    refused(tmp_path / "file.h5", read, "--config.backbone=resnet50_v1")
    with pytest.raises(
        InputError, match=r"backbone=resnet50_v1 with .*=imagen"
    ):
        read("imagenet", "resnet50")


def test_the_mean_must_be_that_of_keras(tmp_path):
    save_h5(keras_layers(), tmp_path / "file")
    with pytest.raises(
        InputError, match=r"--config.mean=\(0.48502,0.457957,0.407604\)"
    ):
        read(tmp_path / "file", "resnet50_v1")
