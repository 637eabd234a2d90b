"""One writer a run: a lock file with process id and host."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from cckeras.errors import InputError

NAME = "LOCK"


class RunLock:
    """A context in which this process alone writes to a run folder.

    The lock is a file that is created exclusively and names its owner. A lock
    whose process has ended on this host is stale and is taken over.

    Raises:
        InputError: on entering, if another process holds the lock or the
            folder cannot be written.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / NAME

    def __enter__(self):
        content = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "started": _start_time(os.getpid()),
            }
        )
        for _ in range(10):
            try:
                with open(self.path, "x", encoding="utf-8") as file:
                    file.write(content)
                return self
            except FileExistsError:
                self._take_over_if_stale()
            except OSError as error:
                raise InputError(
                    f"Expected {self.path.parent} to be writable. Received: "
                    f"{error.strerror}. Choose another --run_dir or change "
                    "its permissions."
                ) from error
        raise self._held("another process that keeps taking it")

    def __exit__(self, *_):
        self.path.unlink(missing_ok=True)

    def _take_over_if_stale(self):
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            pid, host = int(owner["pid"]), str(owner["host"])
            started = owner["started"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            # The owner died between creating the file and filling it.
            self.path.unlink(missing_ok=True)
            return
        if host != socket.gethostname():
            raise self._held(f"process {pid} on host {host}")
        if _start_time(pid) == started and started is not None:
            raise self._held(f"process {pid} on this host")
        self.path.unlink(missing_ok=True)

    def _held(self, owner):
        return InputError(
            f"Expected {self.path.parent} to have one writer. Received: it is "
            f"locked by {owner}. Wait until that ends; if it cannot be "
            f"running any more, delete {self.path}."
        )


def _start_time(pid):
    """Return when a process started (a number is used again), None if gone."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
