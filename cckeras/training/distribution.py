"""Several devices, or several processes, that train one network together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import keras

from cckeras.data.placement import ALONE, Placement
from cckeras.errors import InputError
from cckeras.training.multi_worker import multi_worker_strategy

# By `config.distribute`: the backend that has it.
BACKENDS = {
    "mirrored": "tensorflow",
    "multi_worker": "tensorflow",
    "data_parallel": "jax",
}
JOBS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


def start_processes(kind: str) -> None:
    """Join the other processes. Before TensorFlow has made its devices, or JAX
    has computed anything.

    Args:
        kind: as of `distributed`.

    Raises:
        InputError: on another backend, or without `TF_CONFIG`.
    """
    if kind == "none":
        return
    if keras.backend.backend() != BACKENDS[kind]:
        raise InputError(
            f"Expected KERAS_BACKEND={BACKENDS[kind]} for "
            f"--config.distribute={kind}. Received: "
            f"{keras.backend.backend()}. Set it."
        )
    if kind == "data_parallel" and JOBS in os.environ:
        keras.distribution.initialize()
    if kind == "multi_worker":
        if not os.environ.get("TF_CONFIG"):
            raise InputError(
                "Expected the environment variable TF_CONFIG with cluster and "
                "task for --config.distribute=multi_worker. Received: none. "
                "Set it in every process, or use mirrored."
            )
        multi_worker_strategy()


@contextlib.contextmanager
def distributed(kind: str) -> Iterator[None]:
    """Make and train networks on several devices inside this context, after
    `start_processes`.

    Several processes each need a run folder of their own, and end with the
    same run.

    Args:
        kind: `"none"`, `"mirrored"` (TensorFlow's `MirroredStrategy`, all
            devices of this process), `"multi_worker"` (its
            `MultiWorkerMirroredStrategy`, processes from `TF_CONFIG`) or
            `"data_parallel"` (`keras.distribution.DataParallel` on JAX, all
            devices, and all processes of `KERAS_DISTRIBUTION_JOB_ADDRESSES`).
    """
    if kind == "none":
        yield
    elif kind == "data_parallel":
        # Each process makes its own part of a batch.
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
        if JOBS in os.environ:
            import jax

            # Waits for the others, which would not outlive the first process.
            jax.distributed.shutdown()
    else:
        import tensorflow as tf

        strategy = (
            tf.distribute.MirroredStrategy()
            if kind == "mirrored"
            else multi_worker_strategy()
        )
        with strategy.scope():
            yield


def placement() -> Placement:
    """Return how batches are to be divided here. TensorFlow's strategies
    divide them themselves."""
    if keras.distribution.distribution() is None:
        return ALONE
    import jax

    return Placement(
        jax.device_count(), jax.process_count(), jax.process_index()
    )
