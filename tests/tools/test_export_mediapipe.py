"""tools/export_tflite.py --target=mediapipe: others' readers open the file."""

import json
import subprocess
import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from cckeras.benchmarks.digits5 import digits5
from cckeras.export import metadata
from cckeras.runs.run import Run
from tests.command import ROOT, run
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("export_tflite")
PYTHON = ROOT / ".venv-mediapipe" / "bin" / "python"


def export(digits_run, path, *options):
    return run(
        TOOL.main,
        digits_run.path,
        f"--output={path}",
        "--target=mediapipe",
        *options,
    )


@pytest.fixture(scope="module")
def exported(digits_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("mediapipe") / "zero_one.tflite"
    done = export(digits_run, path, "--tasks=zero_one")
    assert done.code == 0, done.error
    return path


def test_one_input_one_output_and_labels(exported):
    with zipfile.ZipFile(exported) as archive:
        assert archive.namelist() == [metadata.NAME, "labels.txt"]
        labels = archive.read("labels.txt").decode().split("\n")
    (task,) = metadata.read(exported)["tasks"]
    assert labels == task["classes"]
    parsed = schema.ModelT.InitFromPackedBuf(exported.read_bytes(), 0)
    (network,) = parsed.subgraphs
    assert (len(network.inputs), len(network.outputs)) == (1, 1)
    entries = {entry.name: entry.buffer for entry in parsed.metadata}
    content = bytes(parsed.buffers[entries[b"TFLITE_METADATA"]].data)
    assert content[4:8] == b"M001"
    assert b"labels.txt" in content


def test_it_takes_one_task(digits_run, tmp_path):
    done = export(digits_run, tmp_path / "all.tflite")
    assert done.code == 2
    assert "one task for --target=mediapipe. Received: 2 tasks" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("routing", ["exact", "low_rank"])
def test_it_takes_plain_networks(digits_run, tmp_path, routing):
    words = "--tasks=two_three", f"--routing={routing}"
    done = export(digits_run, tmp_path / "one.tflite", *words)
    assert done.code == 2
    assert f"--routing={routing}" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs make env-mediapipe")
def test_mediapipe_answers_as_keras_does(digits_run, exported, tmp_path):
    opened = Run.open(digits_run.path)
    test = digits5(opened.config).load("zero_one").test
    images = test.images.read(np.arange(len(test)))
    np.save(tmp_path / "images.npy", np.asarray(images, np.uint8))
    subprocess.run(
        [
            PYTHON,
            ROOT / "tests" / "tools" / "mediapipe_classify.py",
            exported,
            tmp_path / "images.npy",
            tmp_path / "answers.json",
        ],
        check=True,
    )
    answers = json.loads((tmp_path / "answers.json").read_text())
    model = opened.load().task_model("zero_one")
    logits = model.predict(images.astype(np.float32), verbose=0)
    classes = metadata.read(exported)["tasks"][0]["classes"]
    for wanted, scores in zip(
        np.asarray(keras.ops.softmax(logits)), answers, strict=True
    ):
        got = np.array([scores[name] for name in classes])
        assert got.argmax() == wanted.argmax()
        np.testing.assert_allclose(got, wanted, atol=1e-3)
