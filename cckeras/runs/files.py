"""Durable file operations: a folder appears whole or not at all.

Every write, fsync and rename of a run goes through the functions of this
file, so a test can make the k-th of them fail (tests/runs/test_faults.py).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path

TEMPORARY = ".tmp-"
LARGEST_RECORD = 1 << 26


def write(path: Path, content: bytes) -> None:
    """Write a new file's content and force it to disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, limit: int = LARGEST_RECORD) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises:
        OSError: if it is missing, larger, or no regular file (a device would
            never end, a pipe would wait).
    """
    with _open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def sync_folder(path: Path) -> None:
    """Force a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename atomically; a file at the target is replaced."""
    os.replace(source, target)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically: readers see the old or the new content."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
    write(temporary, content)
    rename(temporary, path)
    sync_folder(path.parent)


def write_folder(path: Path, contents: dict[str, bytes], last: str) -> None:
    """Create a folder of files atomically.

    Args:
        path: where it appears once complete.
        contents: `{file name: content}`.
        last: name of the JSON file, given in `contents` without hashes, that
            is written last, sealed, and gets the SHA-256 of each other file
            under `"files"`.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    hashes = {}
    for name, content in contents.items():
        if name != last:
            write(temporary / name, content)
            hashes[name] = hashlib.sha256(content).hexdigest()
    record = seal({**json.loads(contents[last]), "files": hashes})
    write(temporary / last, dump_json(record))
    sync_folder(temporary)
    rename(temporary, path)
    sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted `write_folder` or `replace_file` left."""
    if folder.is_dir():
        for path in folder.glob(f"{TEMPORARY}*"):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there.

    Raises:
        OSError: if it cannot be deleted: what stays would be in the way later.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def dump_json(value) -> bytes:
    """Return JSON text, sorted and indented, that ends with a newline.

    Raises:
        ValueError: for a number that is not finite.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, of any size.

    Raises:
        OSError: if it is missing, unreadable or no regular file.
    """
    digest = hashlib.sha256()
    with _open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _open_regular(path):
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return open(path, "rb")


def seal(record: dict) -> dict:
    """Return a record with the SHA-256 of its content under `"seal"`."""
    content = {key: value for key, value in record.items() if key != "seal"}
    digest = hashlib.sha256(dump_json(content)).hexdigest()
    return {**content, "seal": digest}
