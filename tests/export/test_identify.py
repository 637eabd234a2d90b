"""The gate, and the networks of some tasks at once."""

import numpy as np
import pytest
import tensorflow as tf

from cckeras.data.sources import ArrayImages, Split
from cckeras.export.gate import Gate, WatchedLayers
from cckeras.export.identify import CANDIDATES, Stack, identify_network
from cckeras.export.network import Convolution, Network, Norm
from cckeras.export.static import Input, StaticLayers
from cckeras.runs.gate import NEVER, Discriminants, make_gate
from tests.layers import oracle

CLASSES = (2, 4, 3)
SOURCE = Input("conv4", 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Shapes:
    """Layers that note the shapes of what a backbone asks for."""

    def __init__(self):
        self.kernels, self.norms = {}, {}

    def conv(self, x, filters, kernel_size, *, strides=1, name):
        shape = (kernel_size, kernel_size, x.shape[-1], filters)
        self.kernels[name] = shape
        return tf.nn.conv2d(x, tf.zeros(shape), strides, "SAME")

    def norm(self, x, *, name):
        self.norms[name] = x.shape[-1]
        return x


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def task_layers(rng, classes):
    shapes = Shapes()
    features = SOURCE.features(tf.zeros((1, 16, 16, 3)), shapes).shape[-1]
    kernels = {
        name: normal(rng, *shape) * np.float32((2 / np.prod(shape[:3])) ** 0.5)
        for name, shape in shapes.kernels.items()
    }
    norms = {
        name: Norm(*(np.abs(normal(rng, count)) + 0.5 for _ in range(4)), 1e-5)
        for name, count in shapes.norms.items()
    }
    convolutions = {
        name: Convolution({"own": kernel}, None, np.zeros(1, np.float32))
        for name, kernel in kernels.items()
    }
    head = normal(rng, features, classes) / 10
    network = Network(convolutions, norms, head, normal(rng, classes))
    return StaticLayers(network, kernels)


def split(rng, number, count):
    """Images of a colour of their own, with noise."""
    colour = np.eye(3)[number] * 120
    images = rng.uniform(0, 100, (count, 16, 16, 3)) + colour
    labels = np.arange(count) % CLASSES[number]
    images += 10.0 * labels[:, None, None, None]
    return Split(ArrayImages(images.astype(np.uint8)), labels)


@pytest.fixture
def gate(rng):
    """A gate over the classes of three tasks, that knows their colours."""
    layers = task_layers(rng, 2)
    found = []
    for number, classes in enumerate(CLASSES):
        own = split(rng, number, 60)
        seen = seen_of(layers, own.read_spread())
        first = found[0] if found else None
        found.append(Discriminants.fit(seen, own.labels, classes, first))
    return Gate(SOURCE, layers, make_gate(found, 0.01))


def seen_of(layers, images):
    watched = WatchedLayers(layers)
    SOURCE.features(tf.constant(images), watched)
    parts = [
        part for name in sorted(watched.seen) for part in watched.seen[name]
    ]
    return np.concatenate(parts, 1)


def test_watched_layers_see_mean_and_deviation(rng):
    layers = task_layers(rng, 2)
    watched = WatchedLayers(layers)
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    SOURCE.features(tf.constant(images), watched)
    normalised = (images / 255 - 0.5) / 0.25
    mean, deviation = watched.seen["conv1"]
    np.testing.assert_allclose(mean, normalised.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(deviation, normalised.std((1, 2)), atol=1e-4)
    assert set(watched.seen) == set(layers.kernels)


def test_the_file_scores_as_evaluation_does(rng, gate):
    for number in range(3):
        images = split(rng, number, 20).read_spread()
        scores = gate.scores(tf.constant(images)).numpy()
        expected = gate.numbers.scores(seen_of(gate.layers, images))
        np.testing.assert_allclose(
            scores - scores.max(1, keepdims=True),
            expected - expected.max(1, keepdims=True),
            rtol=1e-3,
            atol=2e-2,
        )
        starts = np.cumsum([0, *CLASSES])
        found = np.searchsorted(starts, scores.argmax(1), side="right") - 1
        assert (found == number).all()


def test_scores_are_told_by_task(gate):
    scores = np.arange(9, dtype=np.float32)[None]
    assert gate.by_task(tf.constant(scores)).numpy().tolist() == [
        [0, 1, NEVER, NEVER],
        [2, 3, 4, 5],
        [6, 7, 8, NEVER],
    ]


@pytest.mark.parametrize(
    ("quantization", "rtol"),
    [("none", 1e-5), ("float16", 2e-3), ("int8_weights", 2e-2)],
)
@pytest.mark.parametrize(("channels", "strides"), [(3, 1), (12, 1), (12, 2)])
def test_each_task_convolves_with_its_own_kernel(
    rng, quantization, rtol, channels, strides
):
    layers = []
    for _ in range(3):
        kernel = normal(rng, 3, 3, channels, 5)
        conv = Convolution({"own": kernel}, None, np.zeros(1, np.float32))
        network = Network({"conv": conv}, {}, normal(rng, 5, 2), normal(rng, 2))
        layers.append(StaticLayers(network, {"conv": kernel}))
    images = normal(rng, 2, 6, 7, channels)
    chosen = Stack(layers, quantization).read(tf.constant([2, 0]))
    result = chosen.conv(
        tf.constant(images), 5, 3, strides=strides, name="conv"
    )
    for image, task, answer in zip(images, (2, 0), result, strict=True):
        expected = oracle.convolution(
            image, layers[task].kernels["conv"], (strides, strides), "same",
            (1, 1), 1,
        )  # fmt: skip
        assert np.abs(answer - expected).max() <= rtol * np.abs(expected).max()


def test_the_answer_is_the_likeliest_class_of_the_candidates(rng, gate):
    layers = [task_layers(rng, classes) for classes in CLASSES]
    identify = identify_network(gate, Stack(layers))
    for image in rng.uniform(0, 255, (8, 1, 16, 16, 3)).astype(np.float32):
        scores = gate.scores(tf.constant(image)).numpy().astype(float)
        by_task = [part[0] for part in gate.numbers.by_task(scores)]
        likely = [np.exp(part).sum() for part in by_task]
        joint = {}
        for task in np.argsort(likely)[-CANDIDATES:]:
            own = layers[task].probabilities(
                SOURCE.features(image, layers[task])
            )
            for label, share in enumerate(own.numpy()[0]):
                joint[task, label] = share * np.exp(by_task[task][label])
        best = max(joint, key=joint.get)
        answer = {k: v.numpy()[0] for k, v in identify(image).items()}
        assert (answer["task"], answer["class"]) == best
        assert answer["probability"] == pytest.approx(
            joint[best] / sum(joint.values()), abs=1e-3
        )
