"""Batches as a pure function of (seed, task, epoch, position)."""

from __future__ import annotations

import zlib

import grain
import numpy as np
from absl import flags

from cckeras.data.placement import ALONE, Placement
from cckeras.data.sources import Split
from cckeras.data.transforms import RESIZED_CROP, transform

EVALUATION_BATCH = 100
# Grain's own default, 16 threads and 500 batches ahead, starves the training
# thread of Python's lock.
READ_AHEAD = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of batches; the last, partial one is kept."""
    return -(-examples // batch_size)


def training_batches(
    split: Split,
    *,
    seed: int,
    task: str,
    batch_size: int,
    augmentation: str,
    first_epoch: int,
    epochs: int,
    workers: int = 0,
    placement: Placement = ALONE,
) -> grain.IterDataset:
    """Return the batches `(images float32, labels int64)` of some epochs.

    Where several devices divide a batch, with weights `[B]` as a third part.

    Every epoch has its own order and its own random numbers, which depend on
    seed, task, epoch and position alone: a run resumed at an epoch sees what
    the uninterrupted one saw.

    Args:
        split: the training images.
        seed: the run's seed.
        task: name of the task.
        batch_size: images a batch.
        augmentation: name of a transform.
        first_epoch: number of the first epoch, from 0.
        epochs: the number of the epoch after the last one.
        workers: processes that read and change images; 0 for a thread of this
            one. The batches are the same.
        placement: of the devices. Every process makes whole batches, so that
            they do not depend on the number of processes.
    """
    key = zlib.crc32(f"{seed}/{task}".encode())
    augment = transform(augmentation)
    cropped = augmentation == RESIZED_CROP

    def load(indices, rng):
        source = split.images
        images = source.crops(indices, rng) if cropped else source.read(indices)
        images = augment(images, rng).astype(np.float32)
        return _placed(images, split.labels[indices], placement)

    def one_epoch(epoch):
        dataset = grain.MapDataset.source(np.arange(len(split)))
        return (
            dataset.seed((key + epoch) % 2**31)
            .shuffle()
            .batch(batch_size, drop_remainder=False)
            .random_map(load)
        )

    batches = grain.MapDataset.concatenate(
        [one_epoch(epoch) for epoch in range(first_epoch, epochs)]
    ).to_iter_dataset(READ_AHEAD)
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain reads some of its own.
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers)
        )
    return batches


def evaluation_batches(
    split: Split, placement: Placement = ALONE
) -> grain.IterDataset:
    """Return the batches `(images float32, labels)` of a split, in order.

    They begin again at the end: take `evaluation_steps(split)` of them. With a
    placement, as of `training_batches`.
    """

    def load(indices):
        images = split.images.read(indices).astype(np.float32)
        return _placed(images, split.labels[indices], placement)

    return (
        grain.MapDataset.source(np.arange(len(split)))
        .batch(EVALUATION_BATCH, drop_remainder=False)
        .map(load)
        .repeat()
        .to_iter_dataset(READ_AHEAD)
    )


def evaluation_steps(split: Split) -> int:
    """Return the number of batches of `evaluation_batches`."""
    return steps_per_epoch(len(split), EVALUATION_BATCH)


def _placed(images, labels, placement):
    if not placement.divides:
        return images, labels
    places = placement.fill(np.arange(len(labels)))
    weights = placement.weights(len(labels), len(places))
    parts = images[places], labels[places], weights
    return tuple(placement.part(part) for part in parts)
