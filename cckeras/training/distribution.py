"""Several devices, or several processes, that train one network together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import keras

from cckeras.data.placement import ALONE, Placement
from cckeras.errors import InputError

# By `config.distribute`: the backend that has it.
BACKENDS = {
    "mirrored": "tensorflow",
    "multi_worker": "tensorflow",
    "data_parallel": "jax",
}
JOBS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


@contextlib.contextmanager
def distributed(kind: str) -> Iterator[None]:
    """Make and train networks on several devices inside this context.

    Before any other computation. Several processes each need a run folder of
    their own, and end with the same run.

    Args:
        kind: `"none"`, `"mirrored"` (TensorFlow's `MirroredStrategy`, all
            devices of this process), `"multi_worker"` (its
            `MultiWorkerMirroredStrategy`, processes from `TF_CONFIG`) or
            `"data_parallel"` (`keras.distribution.DataParallel` on JAX, all
            devices, and all processes of `KERAS_DISTRIBUTION_JOB_ADDRESSES`).

    Raises:
        InputError: on another backend, or without `TF_CONFIG`.
    """
    if kind == "none":
        yield
        return
    if keras.backend.backend() != BACKENDS[kind]:
        raise InputError(
            f"Expected KERAS_BACKEND={BACKENDS[kind]} for "
            f"--config.distribute={kind}. Received: "
            f"{keras.backend.backend()}. Set it."
        )
    if kind == "data_parallel":
        if JOBS in os.environ:
            keras.distribution.initialize()
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
        return
    import tensorflow as tf

    if kind == "multi_worker" and not os.environ.get("TF_CONFIG"):
        raise InputError(
            "Expected the environment variable TF_CONFIG with cluster and task "
            "for --config.distribute=multi_worker. Received: none. Set it in "
            "every process, or use mirrored."
        )
    strategy = (
        tf.distribute.MirroredStrategy()
        if kind == "mirrored"
        else tf.distribute.MultiWorkerMirroredStrategy()
    )
    with strategy.scope():
        yield


def placement() -> Placement:
    """Return how batches are to be divided here. TensorFlow's strategies
    divide them themselves."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return ALONE
    import jax

    return Placement(
        jax.device_count(), jax.process_count(), jax.process_index()
    )
