"""A data set of TensorFlow Datasets, without its noise and its long waits."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cckeras.data.network import check_network
from cckeras.errors import InputError, reason

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

# Beside every finished download.
DOWNLOADED = "downloads/**/*.INFO"


def prepared_set(
    name: str, data_dir: str | None, advice: str
) -> DatasetBuilder:
    """Return the builder of a set that is on the disk, downloaded and
    prepared where it was not.

    Args:
        name: of TensorFlow Datasets.
        data_dir: its folder; TensorFlow Datasets' own if None.
        advice: what to do where the set cannot be had.

    Raises:
        InputError: if TensorFlow Datasets is not installed, or cannot download
            or prepare the set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"Expected the package tensorflow-datasets to read {name}. "
            "Received: it is not installed. Try pip install 'cckeras[tfds]'. "
            f"{advice}"
        ) from error
    # They warn of a folder that is about to be filled, and of every attempt.
    for logger in ("absl", "urllib3"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        if not builder.is_prepared() and _needs_network(builder):
            check_network(builder.url_infos)
        with contextlib.redirect_stdout(None):
            builder.download_and_prepare()
    # Whatever a download, a missing archive or an unknown format raises.
    except Exception as error:
        raise InputError(
            f"Expected TensorFlow Datasets to download and prepare {name}. "
            f"Received: {reason(error)}. {advice}"
        ) from error
    return builder


def _needs_network(builder):
    """Return whether there is nothing yet that a set could be made from."""
    folder = Path(builder.data_dir).parents[builder.info.full_name.count("/")]
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS is not None
    return not by_hand and not any(folder.glob(DOWNLOADED))
