"""An exported file that is damaged or foreign, and a task that is not in it."""

import io
import json
import zipfile

import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.export import metadata
from cckeras.export.runtime import ExportedTasks
from tests.command import run
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)


@pytest.fixture(scope="module")
def exact(digits_run, tmp_path_factory):
    """A file in exact form."""
    path = tmp_path_factory.mktemp("exported") / "exact.tflite"
    tool = load("export_tflite")
    done = run(
        tool.main, digits_run.path, f"--output={path}", "--routing=exact"
    )
    assert done.code == 0, done.error
    return path


DAMAGED = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "no model": lambda content: b"\0" * 1000 + content[-3000:],
    "plain model": lambda content: content[: content.index(b"PK\3\4")],
    "a flipped bit": lambda content: (
        content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    ),
    "newer": lambda content: metadata.append(
        b"", {**json.loads(_entry(content)), "format": 99}
    ),
}


def _entry(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(metadata.NAME)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_or_foreign_file_is_refused(exact, tmp_path, case):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(DAMAGED[case](exact.read_bytes()))
    with pytest.raises(InputError, match=r"damaged\.tflite"):
        ExportedTasks(path)


def test_a_task_that_is_not_in_the_file(exact):
    with pytest.raises(InputError, match="Did you mean 'zero_one'"):
        ExportedTasks(exact).probabilities("zero_on", np.zeros(1))
