"""Commands as a person runs them: in this process, or in one of their own."""

import contextlib
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cckeras import commands

ROOT = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """How a command ended, and what it wrote on its two streams."""

    code: int
    out: str
    error: str


def run(main, *arguments) -> Outcome:
    """Run a command's `main` in this process, with its exit code."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = commands.exit_code(main, [str(word) for word in arguments])
    return Outcome(code, out.getvalue(), error.getvalue())


def environment(**changes) -> dict[str, str]:
    """Return variables for a process that finds this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def run_process(*arguments, **options) -> Outcome:
    """Run `python ARGUMENTS...` and wait for its end."""
    options.setdefault("env", environment())
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def tree(*folders: Path) -> dict[str, tuple]:
    """Return type and content's hash of all that is in folders."""
    found = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (
                stat.S_IFMT(path.lstat().st_mode),
                hashlib.sha256(content).hexdigest(),
            )
    return found


def copy_run(source: Path, target: Path) -> Path:
    """Copy a run; unlike its original, the copy can be changed."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def make_pictures(
    folder: Path,
    splits=("train", "test"),
    count=4,
    classes=("dark", "light"),
    seed=7,
) -> Path:
    """Make `folder/SPLIT/CLASS/N.png`, noise of 20x24 pixels, the later the
    class the lighter."""
    rng = np.random.default_rng(seed)
    step = 256 // len(classes)
    for split in splits:
        for place, name in enumerate(classes):
            low = place * step
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(low, low + step, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(
                    folder / split / name / f"{number}.png"
                )
    return folder
