"""Keras' `fit` on TensorFlow's `MultiWorkerMirroredStrategy`.

Keras 3.15 takes the mean of a batch over the processes where it wants its
shape, and the mean of a loss over an axis that it has not: `fit` ends with an
error (https://github.com/keras-team/keras/issues/20585). Here both are repaired
for this process.
"""

from __future__ import annotations

import functools

import keras


@functools.cache
def multi_worker_strategy():
    """Return the strategy of this process, made once; before TensorFlow has
    made its devices."""
    import tensorflow as tf
    from keras.src.backend.tensorflow import trainer

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def here(values):
        """Return the values of this process's first device."""
        return keras.tree.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], values
        )

    def build(model, iterator=None, data_batch=None):
        if iterator is not None:
            data_batch = next(here(next(batches)) for _, _, batches in iterator)
        with strategy.scope():
            model._symbolic_build(data_batch=data_batch)

    trainer.TensorFlowTrainer._maybe_symbolic_build = build
    trainer.reduce_per_replica = lambda values, strategy, reduction: here(
        values
    )
    return strategy
