"""CIFAR-100 from an .npz, the official archive, or TensorFlow Datasets."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cckeras.data.prepared_set import prepared_set
from cckeras.errors import InputError, reason

ARCHIVE = "cifar-100-python.tar.gz"
ARCHIVE_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"
NPZ = "cifar100.npz"
SIZES = {"train": 50_000, "test": 10_000}


class Cifar100(NamedTuple):
    """Images uint8 `[N, 32, 32, 3]` and fine labels (alphabetical, 0..99)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_cifar100(data_dir: str | None) -> Cifar100:
    """Load the official train and test parts.

    Args:
        data_dir: a folder with `cifar100.npz`, `cifar-100-python.tar.gz` or a
            prepared TensorFlow data set; TFDS's own folder if None.

    Raises:
        InputError: if there is no data and it cannot be downloaded, or a file
            is damaged.
    """
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise InputError(
                "Expected --data_dir to be a folder with "
                f"{NPZ} or {ARCHIVE}. Received: {data_dir!r}, which is not "
                "a folder."
            )
        if (folder / NPZ).is_file():
            return _from_npz(folder / NPZ)
        if (folder / ARCHIVE).is_file():
            return _from_archive(folder / ARCHIVE)
    return _from_tfds(data_dir)


def _from_npz(path):
    try:
        with (
            open(path, "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            data = Cifar100(*(arrays[name] for name in Cifar100._fields))
    except Exception as error:
        raise InputError(
            f"Expected {path} to hold the arrays "
            f"{', '.join(Cifar100._fields)}. Received: {error}. Put a complete "
            "copy there."
        ) from error
    return _checked(data, path)


def _from_archive(path):
    content = path.read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != ARCHIVE_MD5:
        raise InputError(
            f"Expected {path} to be the official archive (MD5 {ARCHIVE_MD5}). "
            f"Received: MD5 {digest}. Download it again."
        )
    parts = []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for part in SIZES:
            file = archive.extractfile(f"cifar-100-python/{part}")
            # The archive is known byte for byte: unpickling it is safe.
            table = pickle.load(file, encoding="bytes")  # noqa: S301
            images = table[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            parts += [images, np.array(table[b"fine_labels"], np.int64)]
    return _checked(Cifar100(*parts), path)


def _from_tfds(data_dir):
    builder = prepared_set(
        "cifar100",
        data_dir,
        f"Put {NPZ} or {ARCHIVE} into a folder and name it with --data_dir.",
    )
    import tensorflow_datasets as tfds

    parts = []
    try:
        for part in SIZES:
            table = tfds.as_numpy(builder.as_dataset(split=part, batch_size=-1))
            parts += [table["image"], table["label"].astype(np.int64)]
    # Whatever TensorFlow finds damaged.
    except Exception as error:
        raise InputError(
            f"Expected the prepared set in {builder.data_dir} to be whole. "
            f"Received: {reason(error)}. Delete that folder."
        ) from error
    return _checked(Cifar100(*parts), builder.data_dir)


def _checked(data, path):
    for part, images, labels in (
        ("train", data.x_train, data.y_train),
        ("test", data.x_test, data.y_test),
    ):
        expected = (SIZES[part], 32, 32, 3)
        if (images.shape, images.dtype) != (expected, np.uint8):
            raise InputError(
                f"Expected {part} images uint8 of shape {expected} in {path}. "
                f"Received: {images.dtype} of shape {images.shape}. Put a "
                "complete copy there."
            )
        good = labels.shape == expected[:1] and labels.dtype.kind in "iu"
        if not good or labels.min() < 0 or labels.max() > 99:
            raise InputError(
                f"Expected {part} labels 0 to 99 of shape {expected[:1]} in "
                f"{path}. Received: {labels.dtype} of shape {labels.shape}, or "
                "other numbers. Put a complete copy there."
            )
    return data
