"""The variants of a training step that `benchmark_training.py` times.

Each one is a function that trains a number of batches and gives back the
seconds that one of them took. Keras must be loaded first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from cckeras.configs.recipe import published_recipe

from cckeras.backbones.factory import BankFactory, LayerFactory
from cckeras.backbones.network import build_network
from cckeras.data.pipeline import steps_per_epoch, training_batches
from cckeras.data.sources import ArrayImages, Split
from cckeras.methods.base import Group, Phase
from cckeras.methods.condconv import ROUTERS
from cckeras.training.phase import compile_model
from cckeras.training.recipe import make_optimizer

NETWORK = "conv4"
BATCH = 32
CLASSES = 5
SIZE = 32
EPOCH_IMAGES = 2016
STEPS = 4
MEMORY_STEPS = 20
EXPERTS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Args:
        variant: `"plain"` (Conv2D in a bare loop), `"image"` or `"task"`
            (the kernel bank with that routing in the same loop), `"fit"`
            (plain through `fit` from the input pipeline) or `"pipeline"`
            (the input pipeline alone).
        experts: routed experts of the task that is trained.
        implementation: of the per-image convolution.
    """

    variant: str
    experts: int | None = None
    implementation: str | None = None

    @property
    def label(self) -> str:
        """The name on the command line, as `image20_auto`."""
        count = "" if self.experts is None else str(self.experts)
        return "_".join(
            filter(None, (self.variant + count, self.implementation))
        )

    @property
    def weighs(self) -> bool:
        """Whether its peak memory is measured."""
        return self.label in ("image1_auto", "image20_auto")


def all_variants() -> list[Variant]:
    """Return the variants that the backend has, plain first."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    forms = (
        ("auto", "grouped", "patches") if on_tensorflow else ("auto", "patches")
    )
    return [
        Variant("plain"),
        *(Variant("image", count, form) for count in EXPERTS for form in forms),
        Variant("task", max(EXPERTS)),
        Variant("fit"),
        Variant("pipeline"),
    ]


def build(variant: Variant):
    """Return the networks of a run's tasks and the optimizer of the last one.

    The last task routes the variant's number of experts, one for every task.
    A single routed expert is that of a second task that reuses nothing.
    """
    config = published_recipe("condconv")
    shape = (SIZE, SIZE, 3)
    norm = (config.mean, config.std)
    if variant.experts is None:
        factories = [LayerFactory(["plain"])]
    else:
        options = {
            "routing": variant.variant,
            "expert_start": "random",
            "implementation": variant.implementation or "auto",
        }
        used = "all" if variant.experts > 1 else ()
        banks = {}
        factories = [
            BankFactory([number], banks, f"task{number}", used, options)
            for number in range(max(variant.experts, 2))
        ]
    models = [
        build_network(NETWORK, factory, shape, CLASSES, *norm)
        for factory in factories
    ]
    phase = Phase(
        "train",
        models[-1],
        config.epochs,
        (
            Group(ROUTERS, "adam", config.router_learning_rate),
            Group("", "sgd", config.learning_rate, config.l2),
        ),
        tuple(config.decay_epochs),
        config.decay_factor,
    )
    optimizer = make_optimizer(phase, steps_per_epoch(EPOCH_IMAGES, BATCH), {})
    optimizer.build(phase.model.trainable_variables)
    return models, optimizer


def random_split(images: int = EPOCH_IMAGES) -> Split:
    """Return random images of CIFAR's size."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIZE, SIZE, 3), np.uint8)
    return Split(ArrayImages(pixels), rng.integers(0, CLASSES, images))


def bare_loop(variant: Variant) -> Callable[[int], float]:
    """Return `train(steps) -> seconds a step`, on one batch, without `fit`.

    TensorFlow runs a `tf.function` without XLA; JAX a jitted function whose
    state is donated, as Keras' own trainer does. The end of the last step is
    waited for.
    """
    models, optimizer = build(variant)
    split = random_split(BATCH)
    images = split.images.array.astype("float32")
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    make = {"tensorflow": _tensorflow_step, "jax": _jax_step}
    step = make[keras.backend.backend()](
        models[-1], optimizer, loss_of, images, split.labels
    )

    def train(steps):
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        float(loss)
        return (time.perf_counter() - start) / steps

    # The earlier tasks stay in memory, as they do in a run.
    train.models = models
    train(2)
    return train


def _tensorflow_step(model, optimizer, loss_of, images, labels):
    import tensorflow as tf

    # It would warn that a function is traced for every variant.
    tf.get_logger().setLevel("ERROR")
    variables = model.trainable_variables

    @tf.function(jit_compile=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    images, labels = tf.constant(images), tf.constant(labels)
    return lambda: step(images, labels)


def _jax_step(model, optimizer, loss_of, images, labels):
    import jax

    def forward(trainable, fixed, images, labels):
        logits, fixed = model.stateless_call(
            trainable, fixed, images, training=True
        )
        return loss_of(labels, logits), fixed

    def step(state, images, labels):
        trainable, fixed, slots = state
        (loss, fixed), gradients = jax.value_and_grad(forward, has_aux=True)(
            trainable, fixed, images, labels
        )
        trainable, slots = optimizer.stateless_apply(
            slots, gradients, trainable
        )
        return loss, (trainable, fixed, slots)

    jitted = jax.jit(step, donate_argnums=0)
    images, labels = jax.device_put((images, labels))
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
    )

    def train():
        nonlocal state
        loss, state = jitted(state, images, labels)
        return loss

    return train


def through_fit(rounds: int, between: Callable[[], None]) -> list[float]:
    """Train plain through `fit`; return every epoch's seconds a step.

    Args:
        rounds: epochs to time, after one that is not.
        between: called after every timed epoch, and not timed.
    """
    (model,), optimizer = build(Variant("plain"))
    compile_model(model, optimizer)
    split = random_split()
    timer = _EpochTimer(between)
    model.fit(
        _epochs(split, rounds + 1),
        steps_per_epoch=steps_per_epoch(len(split), BATCH),
        epochs=rounds + 1,
        callbacks=[timer],
        verbose=0,
        shuffle=False,
    )
    return [seconds * BATCH / len(split) for seconds in timer.seconds]


class _EpochTimer(keras.callbacks.Callback):
    def __init__(self, between):
        super().__init__()
        self.between = between
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            self.seconds.append(time.perf_counter() - self.start)
            self.between()


def pipeline() -> Callable[[], float]:
    """Return a function that reads an epoch on one processor core and returns
    the seconds a batch."""
    split = random_split()

    def read():
        with _one_core():
            start = time.perf_counter()
            count = sum(len(labels) for _, labels in _epochs(split, 1))
            seconds = time.perf_counter() - start
        return seconds * BATCH / count

    read()
    return read


def _epochs(split, epochs):
    return training_batches(
        split,
        seed=0,
        task="random",
        batch_size=BATCH,
        augmentation="crop_and_flip",
        first_epoch=0,
        epochs=epochs,
    )


@contextlib.contextmanager
def _one_core():
    """Keep this thread, and those it starts meanwhile, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
