"""A data set of TensorFlow Datasets, without its noise and its long waits."""

from __future__ import annotations

import contextlib
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from cckeras.errors import InputError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

PORTS = {"http": 80, "https": 443}
SECONDS = 10
# Of a finished download, beside it.
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
            _check_network(builder)
        with contextlib.redirect_stdout(None):
            builder.download_and_prepare()
    # Whatever a download, a missing archive or an unknown format raises.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"Expected TensorFlow Datasets to download and prepare {name}. "
            f"Received: {type(error).__name__}: {reason}. {advice}"
        ) from error
    return builder


def _needs_network(builder):
    """Return whether nothing of a set was downloaded, or put there by hand."""
    folder = Path(builder.data_dir).parents[builder.info.full_name.count("/")]
    return not (
        builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        or getproxies()
        or any(folder.glob(DOWNLOADED))
    )


def _check_network(builder):
    """Raise an OSError if none of the hosts that have a set can be reached:
    the downloader would try for minutes."""
    urls = [urlsplit(url) for url in builder.url_infos]
    failed = None
    for host, port in {
        (url.hostname, url.port or PORTS[url.scheme]) for url in urls
    }:
        try:
            socket.create_connection((host, port), timeout=SECONDS).close()
        except OSError as error:
            failed = error
        else:
            return
    if failed is not None:
        raise failed
