"""One writer a run: a lock file that names process and host."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from cckeras.errors import InputError

NAME = "LOCK"


class RunLock:
    """A context in which this process alone writes to a run folder.

    The file is locked (`flock`) as long as its owner runs; the system unlocks
    it however the owner ends. So a file that this host left unlocked is stale
    and is taken over, and of several processes that find it one wins. What is
    written in it serves the error message, and keeps other hosts out, whose
    locks are not seen here.

    Raises:
        InputError: on entering, if another process holds the lock or the
            folder cannot be written.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / NAME

    def __enter__(self):
        try:
            self._file = self._locked_file()
        except OSError as error:
            raise InputError(
                f"Expected {self.path.parent} to be a writable folder on a "
                f"file system with locks. Received: {error.strerror}. Choose "
                "another --run_dir or change its permissions."
            ) from error
        return self

    def __exit__(self, *_):
        if self._is_at_path(self._file):
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _locked_file(self):
        while True:
            file = self._open()
            try:
                self._claim(file)
                if self._is_at_path(file):
                    return file
                # Its owner ended, and deleted it, since it was opened.
                file.close()
            except BaseException:
                file.close()
                raise

    def _open(self):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return open(os.open(self.path, flags, 0o644), "r+b")

    def _claim(self, file):
        """Lock the file and write this process into it, or raise."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(file).get("pid", "another process")
            raise self._held(f"process {owner} on this host") from error
        owner = _owner(file)
        host = socket.gethostname()
        if owner.get("host", host) != host:
            raise self._held(
                f"process {owner.get('pid')} on host {owner['host']}"
            )
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid(), "host": host}).encode())
        file.flush()

    def _is_at_path(self, file):
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.lstat())
        except FileNotFoundError:
            return False

    def _held(self, owner):
        return InputError(
            f"Expected {self.path.parent} to have one writer. Received: it is "
            f"locked by {owner}. Wait until that ends; if it cannot be "
            f"running any more, delete {self.path}."
        )


def _owner(file) -> dict:
    """Return what a lock file says; nothing if its owner was ended before
    it was filled."""
    try:
        owner = json.loads(file.read(1000))
    except (ValueError, RecursionError):
        owner = None
    return owner if isinstance(owner, dict) else {}
