"""docs/tutorial.md, command for command, on a few pictures."""

import re
import shlex

import numpy as np
import pytest
from PIL import Image

from cckeras.data.lite0_package import installed
from cckeras.runs.records import RunRecords
from tests.command import ROOT, environment, run_process

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
COLOURS = {
    "pets": {"cat": (200, 120, 40), "dog": (90, 60, 200)},
    "flowers": {"aster": (200, 30, 120), "rose": (30, 180, 60)},
}
NAMES = "abcdefghijklmnop"


def commands(kind):
    """Return the commands of the blocks that begin with this line."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.S)
    return [line for block in blocks for line in block.splitlines()]


def put_pictures(folder, task, rng):
    """Write colours with noise: of odd sizes, some of them grey."""
    for name, colour in COLOURS[task].items():
        for number, letter in enumerate(NAMES):
            path = folder / task / "train" / name / f"{letter}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (60 + number, 75 - number, 3)
            noise = rng.integers(-30, 30, shape)
            pixels = (np.array(colour) + noise).astype(np.uint8)
            image = Image.fromarray(pixels)
            if number % 5 == 4:
                image = image.convert("L")
            image.save(path)


def give(line, folder):
    words = shlex.split(line)
    assert words[0] == "python"
    words = [
        str(ROOT / word) if word.startswith("tools/") else word
        for word in words[1:]
    ]
    if "cckeras.train" in words:
        words += ["--config.epochs=2", "--config.decay_epochs=(1,)"]
    outcome = run_process(*words, cwd=folder, env=environment())
    assert outcome.code == 0, (line, outcome.error)
    return outcome


@pytest.mark.slow
@pytest.mark.skipif(not installed(), reason="needs the extra pretrained")
def test_every_command_of_the_tutorial(tmp_path, rng):
    pictures = tmp_path / "pictures"
    put_pictures(pictures, "pets", rng)
    for line in commands("sh"):
        give(line, tmp_path)
    first = RunRecords.open(tmp_path / "runs/mine").record("pets")["digest"]
    report = (tmp_path / "runs/mine/report/report.html").read_text()
    assert "pets" in report
    put_pictures(pictures, "flowers", rng)
    for line in commands("sh next"):
        give(line, tmp_path)
    run = RunRecords.open(tmp_path / "runs/mine")
    assert [task.name for task in run.tasks] == ["imagenet", "pets", "flowers"]
    assert run.record("pets")["digest"] == first
    for name in ("mine", "pets", "both", "finds"):
        assert (tmp_path / f"{name}.tflite").stat().st_size > 1e6


def test_the_tutorial_has_commands():
    assert len(commands("sh")) >= 6
    assert len(commands("sh next")) >= 5
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S):
        compile(block, "tutorial", "exec")
