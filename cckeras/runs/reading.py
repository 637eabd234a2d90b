"""Files of a run: read and checked, or an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path

from cckeras.errors import InputError
from cckeras.runs import files


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing, unreadable or not a JSON object.
    """
    try:
        value = json.loads(files.read(path))
    except FileNotFoundError as error:
        raise InputError(
            f"Expected the file {path}. Received: it is missing. Restore it "
            "from a copy."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"Expected {path} to be JSON. Received: a damaged file ({error}). "
            "Restore it from a copy."
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"Expected {path} to hold a JSON object. Received: "
            f"{type(value).__name__}. Restore it from a copy."
        )
    return value


def read_checked(path: Path, digest: str) -> bytes:
    """Read a committed file and compare its hash.

    Raises:
        InputError: if it is missing, unreadable or damaged.
    """
    try:
        # In two steps, so that a huge file is not read into memory.
        if files.sha256(path) == digest:
            return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected the file {path}. Received: {error.strerror}. Restore "
            "it from a copy."
        ) from error
    raise InputError(
        f"Expected {path} to be as it was committed. Received: a damaged "
        "file (its SHA-256 differs). Restore it from a copy."
    )


def check_seal(record: dict, path: Path) -> None:
    """Check that a record is as it was written.

    Raises:
        InputError: if its seal is missing or differs.
    """
    try:
        expected = files.seal(record)["seal"]
    except RecursionError:  # Of something nested deeply, which we never write.
        expected = None
    if expected is None or record.get("seal") != expected:
        raise InputError(
            f"Expected {path} to be as it was written. Received: a damaged "
            "file (its seal differs). Restore it from a copy."
        )


def foreign(path: Path, problem: str) -> InputError:
    """Return the error for a readable file that does not fit its run."""
    return InputError(
        f"Expected {path} to be a file of this run. Received: {problem}. "
        "Restore it from a copy."
    )
