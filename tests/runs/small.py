"""Small runs for tests: real digits, few epochs; and how to damage them."""

import functools
import json
import os
import shutil
import stat
from pathlib import Path

from cckeras.benchmarks.base import select_tasks
from cckeras.benchmarks.digits5 import digits5
from cckeras.recipes import load_recipe
from cckeras.runs import files
from cckeras.runs.records import LAST, TASK, TASKS
from cckeras.training.learn import learn, open_or_create

NAMES = ("zero_one", "two_three")
MISSING = object()


class Killed(BaseException):
    """Stands for the end of the process: nothing may handle it."""


def recipe(method="condconv", **changes) -> dict:
    """Return the recipe of digits5 with two epochs, and changes."""
    changes = {"epochs": 2, "decay_epochs": (1,), **changes}
    texts = {key: str(value) for key, value in changes.items()}
    return load_recipe("digits5", method, texts)


def learn_digits(path, config, method="condconv", tasks=NAMES, **options):
    """Learn some tasks of digits5 as the command does, in this process."""
    benchmark = select_tasks(digits5(config), ",".join(tasks))
    run = open_or_create(Path(path), method, "digits5", config)
    return learn(run, benchmark, **options)


@functools.cache
def small_run(folder: Path) -> Path:
    """Return the run of a test session: two tasks, condconv. Copy it."""
    path = folder / "small_run"
    learn_digits(path, recipe())
    return path


def contents(path: Path) -> dict[str, bytes]:
    """Return `{relative name: content}` of all files of a folder."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def states(path: Path) -> dict[str, tuple]:
    """Return what rewriting a file would change, even with equal content."""
    found = {}
    for entry in sorted(path.rglob("*")):
        status = entry.lstat()
        small = stat.S_ISREG(status.st_mode) and status.st_size < 1 << 26
        found[str(entry.relative_to(path))] = (
            status.st_ino,
            None if entry.is_dir() else status.st_mtime_ns,
            entry.read_bytes() if small else None,
        )
    return found


def copy_run(source: Path, target: Path) -> Path:
    """Copy a run, committed folders read-only as they were."""
    shutil.copytree(source, target)
    return target


def writable(path: Path) -> Path:
    """Make a copied run's folders and files writable, to damage them."""
    for entry in (path, *path.rglob("*")):
        entry.chmod(0o755 if entry.is_dir() else 0o644)
    return path


def rewind(path: Path, count: int) -> None:
    """Make a copied run one that has learned its first tasks alone."""
    folders = sorted((path / TASKS).iterdir())
    for folder in folders[count:]:
        writable(folder)
        shutil.rmtree(folder)
    files.replace_file(path / LAST, folders[count - 1].name.encode() + b"\n")


def flip_bit(path: Path, position: int) -> None:
    """Change one bit of a file, counted from its start."""
    content = bytearray(path.read_bytes())
    content[position // 8] ^= 1 << position % 8
    os.chmod(path, 0o644)
    path.write_bytes(content)


def change_record(path: Path, **changes) -> None:
    """Change fields of a sealed record and seal it again, as a forger would.

    A field that becomes `MISSING` is left out.
    """
    record = {**json.loads(path.read_bytes()), **changes}
    record = {k: value for k, value in record.items() if value is not MISSING}
    path.write_bytes(files.dump_json(files.seal(record)))


def forge(folder: Path, name: str, content: bytes, **changes) -> None:
    """Replace a file of a committed task and make its record agree."""
    (folder / name).write_bytes(content)
    hashes = json.loads((folder / TASK).read_bytes())["files"]
    hashes[name] = files.sha256(folder / name)
    change_record(folder / TASK, files=hashes, **changes)
