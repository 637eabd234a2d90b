"""Export of a folder of pictures: grey ones, of odd sizes and sixteen bits."""

import numpy as np
import pytest
from PIL import Image

from cckeras import train
from cckeras.benchmarks import benchmark
from cckeras.export import metadata
from cckeras.export.runtime import ExportedTasks
from cckeras.runs.run import Run
from tests.command import run
from tests.tools.tool import load

TOOL = load("export_tflite")
SIZES = ((17, 33), (64, 41), (31, 31), (50, 19))


def add_task(root, name, mode):
    """Add a task of two textures, in pictures of odd sizes."""
    rng = np.random.default_rng(len(name))
    for label, step in (("coarse", 8), ("fine", 2)):
        folder = root / name / "train" / label
        folder.mkdir(parents=True)
        for number in range(24):
            height, width = SIZES[number % len(SIZES)]
            coarse = rng.integers(
                0, 2, (height // step + 1, width // step + 1), np.uint8
            )
            pixels = np.kron(coarse, np.ones((step, step), np.uint8))
            pixels = pixels[:height, :width]
            if mode == "I;16":
                picture = Image.fromarray(pixels.astype(np.uint16) * 65535)
            else:
                picture = Image.fromarray(pixels * 255).convert(mode)
            picture.save(folder / f"{number}.png")


def learn(root, path):
    done = run(
        train.main, "--benchmark=image_folder", f"--data_dir={root}",
        f"--run_dir={path}", "--config.image_size=32", "--config.epochs=2",
        "--config.decay_epochs=(1,)", "--config.backbone=conv4",
    )  # fmt: skip
    assert done.code == 0, done.error


def export(root, path, output):
    done = run(
        TOOL.main, path, f"--data_dir={root}", f"--output={output}",
        "--routing=exact",
    )  # fmt: skip
    assert done.code == 0, done.error
    return ExportedTasks(output)


def test_grey_pictures_and_a_folder_added_later(tmp_path):
    root, path = tmp_path / "pictures", tmp_path / "run"
    add_task(root, "grey", "L")
    add_task(root, "sixteen", "I;16")
    learn(root, path)
    before = export(root, path, tmp_path / "before.tflite")
    add_task(root, "palette", "P")
    learn(root, path)
    after = export(root, path, tmp_path / "after.tflite")
    assert list(after.tasks) == ["grey", "sixteen", "palette"]
    for task in metadata.read(tmp_path / "after.tflite")["tasks"]:
        assert task["parity"]["images"] > 0
        assert task["parity"]["difference"] <= 1e-4
    opened = Run.open(path)
    method = opened.load()
    data = benchmark("image_folder")(opened.config, root)
    for name in before.tasks:
        for image in data.load(name).test.read_spread():
            # A grey picture: three equal channels.
            assert np.ptp(image, axis=-1).max() == 0
            old, new = (f.probabilities(name, image) for f in (before, after))
            assert old.tobytes() == new.tobytes()
            logits = np.asarray(method.task_model(name)(image[None]))[0]
            expected = np.exp(logits - logits.max())
            assert new == pytest.approx(expected / expected.sum(), abs=1e-4)
