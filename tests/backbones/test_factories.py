"""Every backbone with every layer factory: shapes, sizes, names, variables."""

import keras
import numpy as np
import pytest

from cckeras.backbones import BACKBONES, backbone
from cckeras.backbones.factory import BankFactory, LayerFactory
from cckeras.backbones.network import build_network
from cckeras.errors import InputError
from tests.backend import array, same_bits

CLASSES = 5
# Features of 32x32 images, convolution weights (methods.md 2, or counted by
# hand), number of convolutions, channels of the norms.
FACTS = {
    "conv4": (256, 112_320, 4, 4 * 64),
    "resnet18": (
        512,
        1_728
        + 4 * 36_864
        + (73_728 + 3 * 147_456 + 8_192)
        + (294_912 + 3 * 589_824 + 32_768)
        + (1_179_648 + 3 * 2_359_296 + 131_072),
        20,
        5 * 64 + 5 * 128 + 5 * 256 + 5 * 512,
    ),
    # torchvision's 25,557,032 parameters without norms and head.
    "resnet50": (2048, 25_557_032 - 2 * 26_560 - 2_049_000, 53, 26_560),
    # Pointwise, depthwise, stem.
    "efficientnet_lite0": (1280, 3_146_112 + 182_016 + 864, 49, 21_008),
}
# The same layers with other strides.
FACTS["resnet50_v1"] = FACTS["resnet50"]
# The same blocks behind a 7x7 stem.
FACTS["resnet18_imagenet"] = (
    512,
    FACTS["resnet18"][1] - 3 * 3 * 3 * 64 + 7 * 7 * 3 * 64,
    *FACTS["resnet18"][2:],
)
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet50_v1"))
    for name in FACTS
]
# Convolutions with a kernel bank; each task owns the others' kernels.
BANKED = {
    "conv4": 4,
    "resnet18": 20,
    "resnet18_imagenet": 20,
    "resnet50": 53,
    "resnet50_v1": 53,
    "efficientnet_lite0": 32,
}
NORM_VARIABLES = {"gamma", "beta", "moving_mean", "moving_variance"}


def build(name, layers, shape=(32, 32, 3)):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return build_network(name, layers, shape, CLASSES, mean, std)


def bank_factory(task="a", banks=None, experts="all", **options):
    banks = {} if banks is None else banks
    return BankFactory([0, task], banks, task, experts, options)


FACTORIES = {
    "plain": lambda: LayerFactory([0, "a"]),
    "bank": bank_factory,
}


def size(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def test_every_backbone_has_its_facts_here():
    assert set(FACTS) == set(BACKBONES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", FACTORIES)
class TestEveryBackboneWithEveryFactory:
    def test_shapes(self, name, kind):
        model = build(name, FACTORIES[kind]())
        features, *_ = FACTS[name]
        assert model.input_shape == (None, 32, 32, 3)
        assert model.get_layer("features").output.shape == (None, features)
        assert model.output_shape == (None, CLASSES)

    def test_numbers_of_parameters(self, name, kind):
        layers = FACTORIES[kind]()
        build(name, layers)
        features, weights, convolutions, channels = FACTS[name]
        kernels = [
            variable
            for key, variable in layers.variables.items()
            if key.endswith(("/expert", "/kernel")) and "head" not in key
        ]
        assert len(kernels) == convolutions
        assert size(kernels) == weights
        norms = [
            variable
            for key, variable in layers.variables.items()
            if key.rpartition("/")[2] in NORM_VARIABLES
        ]
        assert size(norms) == 4 * channels
        head = (features + 1) * CLASSES
        total = size(layers.variables.values())
        assert total == weights + 4 * channels + head

    def test_registered_variables_are_the_network_s(self, name, kind):
        layers = FACTORIES[kind]()
        model = build(name, layers)
        registered = [id(v) for v in layers.variables.values()]
        assert len(set(registered)) == len(registered)
        assert set(registered) == {id(v) for v in model.variables}
        assert all(key.count("/") == 1 for key in layers.variables)

    def test_names_are_unique(self, name, kind):
        model = build(name, FACTORIES[kind]())
        names = [layer.name for layer in model.layers]
        assert len(set(names)) == len(names)
        paths = [variable.path for variable in model.variables]
        assert len(set(paths)) == len(paths)

    def test_initial_values_depend_on_the_seed_and_the_layer(self, name, kind):
        values = [FACTORIES[kind](), FACTORIES[kind]()]
        for layers in values:
            build(name, layers)
        first, again = (layers.variables for layers in values)
        drawn = set()
        for key, variable in first.items():
            assert same_bits(variable, again[key])
            if key.rpartition("/")[2] not in NORM_VARIABLES:
                drawn.add(array(variable).tobytes())
        *_, convolutions, _ = FACTS[name]
        assert len(drawn) == convolutions + 2


@pytest.mark.parametrize("name", NAMES)
def test_plain_and_bank_networks_start_from_the_same_values(name):
    plain, bank = LayerFactory([0, "a"]), bank_factory()
    build(name, plain)
    build(name, bank)
    renamed = {
        key.replace("/expert", "/kernel"): variable
        for key, variable in bank.variables.items()
    }
    assert set(renamed) == set(plain.variables)
    for key, variable in plain.variables.items():
        assert same_bits(variable, renamed[key])


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_biases_are_uniform_in_one_over_the_root_of_fan_in(name):
    layers = LayerFactory([0, "a"])
    build(name, layers)
    for key, variable in layers.variables.items():
        role = key.rpartition("/")[2]
        values = array(variable)
        if role in NORM_VARIABLES:
            ones = role in ("gamma", "moving_variance")
            assert (values == (1 if ones else 0)).all()
            continue
        features, *_ = FACTS[name]
        fan_in = features if key == "head/bias" else np.prod(values.shape[:-1])
        if "depthwise" in key:  # A channel sees itself alone.
            fan_in = values.shape[0] * values.shape[1]
        limit = 1 / np.sqrt(fan_in)
        assert 0.5 * limit < np.abs(values).max() <= np.float32(limit)


@pytest.mark.parametrize("name", NAMES)
def test_banks_grow_by_task_and_share_their_experts(name):
    banks = {}
    factories, models = {}, {}
    for task, experts in (("a", "all"), ("b", "all"), ("c", "first")):
        factories[task] = bank_factory(task, banks, experts)
        models[task] = build(name, factories[task])
    assert len(banks) == BANKED[name]
    for bank in banks.values():
        assert bank.experts("b") == ("a", "b")
        assert bank.experts("c") == ("a", "c")
    used = {task: {id(v) for v in m.variables} for task, m in models.items()}
    own = {
        task: {id(v) for v in factory.variables.values()}
        for task, factory in factories.items()
    }
    experts = {
        id(variable)
        for key, variable in factories["a"].variables.items()
        if key.endswith("/expert")
    }
    assert used["a"] == own["a"]
    assert used["b"] == own["b"] | experts
    assert used["c"] == own["c"] | experts
    assert not own["a"] & own["b"]
    trainable = {id(v) for v in models["b"].trainable_variables}
    assert not trainable & {
        id(v) for bank in banks.values() for v in bank.owned("b").values()
    }
    trainable = {id(v) for v in models["c"].trainable_variables}
    assert trainable <= own["c"]


def test_options_reach_the_banks():
    options = {"routing": "task", "own_expert": "added", "expert_start": "copy"}
    factory = bank_factory(**options)
    build("conv4", factory)
    for bank in factory.banks.values():
        assert {key: getattr(bank, key) for key in options} == options
        assert not bank.use_bias
        assert bank.padding == "same"


def test_norms_have_the_published_momentum_and_epsilon():
    model = build("conv4", LayerFactory([0]))
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) == 4
    assert {(n.momentum, n.epsilon) for n in norms} == {(0.9, 1e-5)}


def test_an_unknown_backbone_gets_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'resnet18'"):
        backbone("resnet8")
