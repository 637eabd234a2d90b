"""tools/export_tflite.py: from a run to a file, and the file in LiteRT."""

import dataclasses
import json
import os
import stat
import zipfile

import keras
import numpy as np
import pytest

from cckeras.benchmarks import BENCHMARKS
from cckeras.benchmarks.digits5 import digits5
from cckeras.export import folding, forms, metadata
from cckeras.export.runtime import ExportedTasks
from cckeras.names import EXPORT_ROUTINGS
from cckeras.runs.run import Run
from cckeras.schemas import check_schema
from tests.command import copy_run, run, tree
from tests.runs.small import learn_digits, recipe
from tests.tools.tool import load

NAMES = ("zero_one", "two_three", "four_five")
TOOL = load("export_tflite")


def call(*arguments):
    return run(TOOL.main, *arguments)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A run of three tasks."""
    path = tmp_path_factory.mktemp("three") / "run"
    learn_digits(path, recipe(), tasks=NAMES)
    return path


@pytest.fixture(scope="module")
def files(three, tmp_path_factory):
    """The run's tasks in every form, and what --json wrote."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for routing in EXPORT_ROUTINGS:
        path = folder / f"{routing}.tflite"
        report = folder / f"{routing}.json"
        done = call(
            three, f"--output={path}", f"--routing={routing}",
            f"--json={report}", "--max_accuracy_drop=100",
        )  # fmt: skip
        assert done.code == 0, done.error
        found[routing] = path, json.loads(report.read_text())
    return found


def pictures_of(name, few=6):
    data = digits5(recipe()).load(name).test
    return data.images.read(np.arange(few)).astype(np.float32)


@pytest.mark.parametrize("routing", EXPORT_ROUTINGS)
def test_the_file_describes_itself(files, three, routing):
    path, report = files[routing]
    check_schema("tflite", report, "out.json")
    assert metadata.read(path) == report
    assert [task["name"] for task in report["tasks"]] == list(NAMES)
    assert report["run"] == Run.open(three).settings["id"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [metadata.NAME]


def test_forms(files):
    found = {
        routing: [task["form"] for task in report["tasks"]]
        for routing, (_, report) in files.items()
    }
    assert found == {
        # Every drop was allowed.
        "auto": ["constant", "folded", "folded"],
        "exact": ["exact"] * 3,
        "folded": ["constant", "folded", "folded"],
        "low_rank": ["constant", "low_rank", "low_rank"],
    }


def worsened(monkeypatch, accuracy_of):
    """Let folding by `ranks` have a chosen validation accuracy."""
    real = folding.Folding.fold

    def fold(self, ranks):
        found = real(self, ranks)
        accuracy = accuracy_of(ranks)
        return dataclasses.replace(found, validation_accuracy=accuracy)

    monkeypatch.setattr(folding.Folding, "fold", fold)


def test_without_an_allowed_drop_a_worse_form_is_not_taken(
    three, tmp_path, monkeypatch
):
    worsened(monkeypatch, lambda ranks: 0.0)
    path = tmp_path / "auto.tflite"
    assert call(three, f"--output={path}").code == 0
    found = [task["form"] for task in metadata.read(path)["tasks"]]
    assert found == ["constant", "exact", "exact"]


def test_only_the_layer_that_helps_is_routed(three, tmp_path, monkeypatch):
    worsened(monkeypatch, lambda ranks: 100.0 * ("conv3" in ranks))
    path = tmp_path / "auto.tflite"
    assert call(three, f"--output={path}").code == 0
    tasks = metadata.read(path)["tasks"]
    # The second task has two experts: a mean and a direction are no fewer.
    assert [t["form"] for t in tasks] == ["constant", "exact", "low_rank"]
    assert tasks[2]["ranks"] == {"conv3": 1}
    assert set(tasks[2]["cost"]) == {"exact", "low_rank"}


def test_what_a_task_did_not_lose_the_next_one_may(
    three, tmp_path, monkeypatch
):
    def forms_of(tasks):
        path = tmp_path / "auto.tflite"
        assert call(
            three, f"--output={path}", f"--tasks={','.join(tasks)}",
            "--max_accuracy_drop=2",
        ).code == 0  # fmt: skip
        return metadata.read(path)["tasks"]

    measured = forms_of(NAMES[1:2])[0]["validation_accuracy"]
    worsened(monkeypatch, lambda ranks: measured["exact"] - 3)
    assert [task["form"] for task in forms_of(NAMES[1:2])] == ["exact"]
    # The first task is constant, and leaves what it may lose.
    forms = [task["form"] for task in forms_of(NAMES[:2])]
    assert forms == ["constant", "folded"]


@pytest.mark.parametrize("routing", ["auto", "exact"])
def test_what_litert_answers_is_what_keras_answers(files, three, routing):
    path, report = files[routing]
    opened = ExportedTasks(path)
    method = Run.open(three).load()
    for task in report["tasks"]:
        if task["form"] in ("folded", "low_rank"):
            continue
        images = pictures_of(task["name"])
        logits = method.task_model(task["name"]).predict(images, verbose=0)
        expected = np.asarray(keras.ops.softmax(logits))
        for image, wanted in zip(images, expected, strict=True):
            got = opened.probabilities(task["name"], image)
            np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_xnnpack_computes_all_but_reading_the_table(files):
    assert files["folded"][1]["operators_outside_xnnpack"] == {}
    assert files["low_rank"][1]["operators_outside_xnnpack"] == {}
    assert files["exact"][1]["operators_outside_xnnpack"] == {"GATHER": 1}


def test_the_exact_file_is_little_more_than_its_parameters(files, three):
    run_opened = Run.open(three)
    stored = sum(record["parameters"] for record in run_opened.records)
    assert files["exact"][1]["model_bytes"] <= 1.1 * 4 * stored


@pytest.mark.parametrize("routing", ["auto", "exact", "low_rank"])
def test_one_more_task_changes_no_bit_of_the_others(
    files, three, tmp_path, routing
):
    fewer = tmp_path / "fewer.tflite"
    two = ",".join(NAMES[:2])
    done = call(
        three, f"--output={fewer}", f"--tasks={two}", f"--routing={routing}",
        "--max_accuracy_drop=100",
    )  # fmt: skip
    assert done.code == 0, done.error
    before, after = ExportedTasks(fewer), ExportedTasks(files[routing][0])
    assert list(before.tasks) == list(NAMES[:2])
    for name in NAMES[:2]:
        for image in pictures_of(name):
            old, new = (f.probabilities(name, image) for f in (before, after))
            assert old.tobytes() == new.tobytes()


def test_a_file_that_differs_from_keras_does_not_come_to_be(
    three, tmp_path, monkeypatch
):
    real = forms.read_network

    def wrong(method, name):
        network = real(method, name)
        if name == "two_three":
            network.head_bias[0] += 0.01
        return network

    monkeypatch.setattr(forms, "read_network", wrong)
    output = tmp_path / "wrong.tflite"
    done = call(three, f"--output={output}", "--routing=exact")
    assert done.code == 1
    assert "'two_three' to answer as Keras does" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quantization", ["none", "int8_weights"])
def test_a_nan_in_any_setting_is_caught(
    three, tmp_path, monkeypatch, quantization
):
    real = ExportedTasks.probabilities

    def probabilities(self, task, image):
        answer = real(self, task, image)
        return answer if self.xnnpack else np.full_like(answer, np.nan)

    monkeypatch.setattr(ExportedTasks, "probabilities", probabilities)
    output = tmp_path / "nan.tflite"
    done = call(three, f"--output={output}", f"--quantize={quantization}")
    assert done.code == 1
    assert "a difference of nan" in done.error
    assert list(tmp_path.iterdir()) == []


def test_methods_without_a_bank(tmp_path):
    learn_digits(tmp_path / "run", recipe("scratch"), "scratch")
    path = tmp_path / "scratch.tflite"
    assert call(tmp_path / "run", f"--output={path}").code == 0
    report = metadata.read(path)
    assert [task["form"] for task in report["tasks"]] == ["constant"] * 2
    assert all(task["parity"]["images"] > 50 for task in report["tasks"])


@pytest.mark.slow
def test_resnet18_with_strides_and_projections(tmp_path):
    config = recipe(backbone="resnet18", epochs=1, decay_epochs=())
    learn_digits(tmp_path / "run", config)
    path = tmp_path / "resnet18.tflite"
    done = call(tmp_path / "run", f"--output={path}", "--routing=exact")
    assert done.code == 0, done.error
    report = metadata.read(path)
    assert report["tasks"][1]["parity"]["difference"] <= 1e-4
    assert report["operators_outside_xnnpack"] == {"GATHER": 1}


BAD = {
    "no output": ((), "--output=FILE.tflite"),
    "no tflite": (("--output=a.bin",), "--output=FILE.tflite"),
    "no folder": (("--output=/no/where/a.tflite",), "a writable folder"),
    "routing": (("--routing=folds",), "Did you mean 'folded'"),
    "task": (("--tasks=zero_on",), "Did you mean 'zero_one'"),
    "twice": (("--tasks=zero_one,zero_one",), "name a task once"),
    "drop": (("--max_accuracy_drop=much",), "to be a number in 0..100"),
    "rank": (("--rank=0",), "--rank"),
    "rank of none": (("--rank=2",), "--rank with --routing=low_rank"),
    "nan": (("--max_accuracy_drop=nan",), "to be a number in 0..100"),
}


def test_another_backend_is_refused(three, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    done = call(three, f"--output={tmp_path / 'a.tflite'}")
    assert done.code == 2
    assert "KERAS_BACKEND=jax. Unset it." in done.error


def test_a_task_whose_data_are_not_there(three, tmp_path, monkeypatch):
    fewer = dataclasses.replace(digits5(recipe()), tasks=NAMES[:2])
    monkeypatch.setitem(BENCHMARKS, "digits5", lambda *_: fewer)
    done = call(three, f"--output={tmp_path / 'a.tflite'}")
    assert done.code == 2
    assert f"data of task {NAMES[2]!r}" in done.error
    assert "--data_dir" in done.error
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_in_training_are_told(three, tmp_path, monkeypatch):
    real = digits5(recipe())

    def load(name):
        data = real.load(name)
        rest = data.train.subset(np.arange(len(data.train) - 1))
        return dataclasses.replace(data, train=rest)

    changed = dataclasses.replace(real, load=load)
    monkeypatch.setitem(BENCHMARKS, "digits5", lambda *_: changed)
    done = call(three, f"--output={tmp_path / 'a.tflite'}", "--tasks=zero_one")
    assert done.code == 0, done.error
    assert "note: other data than in training: zero_one." in done.out


@pytest.mark.parametrize("case", BAD)
def test_bad_input(three, tmp_path, case):
    arguments, message = BAD[case]
    if case not in ("no output", "no tflite", "no folder"):
        arguments = (f"--output={tmp_path / 'a.tflite'}", *arguments)
    before = tree(three)
    done = call(three, *arguments)
    assert done.code == 2
    assert message in done.error
    assert len(done.error.splitlines()) == 1
    assert tree(three) == before
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_task_file_is_named(three, tmp_path):
    copied = copy_run(three, tmp_path / "run")
    weights = copied / "tasks" / "02-two_three" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = call(copied, f"--output={tmp_path / 'a.tflite'}")
    assert done.code == 2
    assert str(weights) in done.error
    assert not (tmp_path / "a.tflite").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(three, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = call(three, f"--output={tmp_path / 'a.tflite'}")
    tmp_path.chmod(0o700)
    assert done.code == 2
    assert "a writable folder" in done.error
