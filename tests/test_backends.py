"""Keras on JAX where TensorFlow is not installed; runs move between both."""

import json
import re

import numpy as np
import pytest

from cckeras import names, predict, verify
from cckeras.runs.run import Run
from cckeras.runs.unforgetting import TOLERANCE
from cckeras.schemas import check_schema
from tests.backend import BACKEND
from tests.command import environment, run, run_process, tree

pytest_plugins = ("tests.small_run",)

both = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow is not the backend of this run"
)

# Python imports this module by itself; TensorFlow is then nowhere to be found.
WITHOUT_TENSORFLOW = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in ("tensorflow", "tensorboard"):
        return None
    return found(name, path, target)


PathFinder.find_spec = find_spec
"""
# Several commands in one process, which imports JAX once.
COMMANDS = """
import importlib, json, sys
from cckeras.commands import exit_code

for command, *words in json.loads(sys.argv[1]):
    main = importlib.import_module(f"cckeras.{command}").main
    code = exit_code(main, words)
    if code:
        sys.exit(code)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="session")
def on_jax(tmp_path_factory):
    """Returns `run_commands(*commands, **variables)`, without TensorFlow."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("without_tensorflow")
    (folder / "sitecustomize.py").write_text(WITHOUT_TENSORFLOW)
    variables = environment(JAX_PLATFORMS="cpu")
    variables["PYTHONPATH"] = f"{folder}:{variables['PYTHONPATH']}"
    variables.pop("KERAS_BACKEND", None)

    def run_commands(*commands, **more):
        lines = [[str(word) for word in command] for command in commands]
        outcome = run_process(
            "-c", COMMANDS, json.dumps(lines), env={**variables, **more}
        )
        assert outcome.code == 0, outcome.error
        return outcome

    return run_commands


@pytest.fixture(scope="session")
def jax_run(on_jax, tmp_path_factory, pictures):
    """A run of two tasks on JAX, and what each command wrote, as JSON."""
    folder = tmp_path_factory.mktemp("jax_run")
    path = folder / "run"
    written = {
        name: folder / f"{name}.json"
        for name in ("train", "verify", "evaluate", "predict")
    }
    outcome = on_jax(
        [
            *("train", "--tasks=zero_one,two_three", f"--run_dir={path}"),
            *("--config.epochs=2", "--config.decay_epochs=1"),
            f"--json={written['train']}",
        ],
        ["verify", path, f"--json={written['verify']}"],
        ["evaluate", path, f"--json={written['evaluate']}"],
        ["predict", path, pictures, f"--json={written['predict']}"],
        KERAS_BACKEND="jax",
    )
    results = {
        name: json.loads(file.read_text()) for name, file in written.items()
    }
    return path, results, outcome


def differences(report):
    """Return the largest difference to recorded logits that each task had."""
    texts = [verdict["recorded"] for verdict in report["tasks"]]
    found = [re.search(r"largest difference (\S+)\)", text) for text in texts]
    assert all(found), texts
    return [float(match[1]) for match in found]


def test_all_commands_run_without_tensorflow(jax_run):
    path, results, outcome = jax_run
    for name, result in results.items():
        check_schema(name, result, name)
    assert results["train"]["learned"] == ["zero_one", "two_three"]
    assert results["verify"]["holds"]
    assert results["verify"]["environment"]["backend"] == "jax"
    assert [task["recorded"] for task in results["verify"]["tasks"]] == [
        "equal, bit for bit"
    ] * 2
    assert results["evaluate"]["backend"] == "jax"
    assert results["evaluate"]["task_incremental"]["forgetting"] == 0
    assert list(results["evaluate"]["task_free"]) == sorted(names.RULES)
    assert (path / "report" / "report.html").is_file()
    assert len(results["predict"]["pictures"]) == 32
    assert "every task is as it was committed (2 of 2)" in outcome.out


def test_jax_learns(jax_run):
    _, results, _ = jax_run
    first, _ = results["evaluate"]["task_incremental"]["accuracies"]
    assert first > 90
    records = results["train"]["tasks"]
    assert [record["metrics"]["test_accuracy"] for record in records] == (
        results["evaluate"]["task_incremental"]["accuracies"]
    )


def test_jax_is_chosen_where_tensorflow_is_not_installed(
    on_jax, jax_run, tmp_path
):
    path, results, _ = jax_run
    on_jax(["verify", path, f"--json={tmp_path / 'again.json'}"])
    again = json.loads((tmp_path / "again.json").read_text())
    assert again == results["verify"]


@both
def test_a_run_of_tensorflow_opens_on_jax(on_jax, digits_run, tmp_path):
    before = tree(digits_run.path)
    on_jax(
        ["verify", digits_run.path, f"--json={tmp_path / 'verify.json'}"],
        KERAS_BACKEND="jax",
    )
    report = json.loads((tmp_path / "verify.json").read_text())
    assert report["holds"]
    assert report["environment"]["backend"] == "jax"
    for verdict in report["tasks"]:
        assert verdict["files"] == "as committed"
        assert verdict["tensors"].endswith(" equal")
        assert verdict["alone"] == "equal, bit for bit"
        assert "recorded with another backend" in verdict["recorded"]
    assert max(differences(report)) <= TOLERANCE
    assert tree(digits_run.path) == before


@both
def test_a_run_of_jax_opens_on_tensorflow(jax_run, pictures, tmp_path):
    path, results, _ = jax_run
    outcome = run(verify.main, path, f"--json={tmp_path / 'verify.json'}")
    assert (outcome.code, outcome.error) == (0, "")
    report = json.loads((tmp_path / "verify.json").read_text())
    assert report["environment"]["backend"] == "tensorflow"
    assert max(differences(report)) <= TOLERANCE
    opened = Run.open(path)
    method = opened.load()
    for task in opened.tasks:
        probe = opened.probe(task.name)
        logits = np.asarray(method.task_model(task.name)(probe.images))
        assert np.abs(logits - probe.logits).max() <= TOLERANCE
    outcome = run(predict.main, path, pictures, "--format=json")
    for here, there in zip(
        json.loads(outcome.out)["pictures"],
        results["predict"]["pictures"],
        strict=True,
    ):
        assert here["task"] == there["task"]
        assert here["class"] == there["class"]
        assert here["probability"] == pytest.approx(
            there["probability"], abs=1e-4
        )


@pytest.mark.slow
def test_cifar100_on_jax(on_jax, tmp_path):
    # Each fine class is a colour of its own: small to store, easy to learn.
    rng = np.random.default_rng(100)
    colours = rng.integers(0, 256, (100, 1, 1, 3), np.uint8)
    arrays = {}
    for part, count in (("train", 500), ("test", 100)):
        labels = np.repeat(np.arange(100), count)
        arrays[f"y_{part}"] = labels
        arrays[f"x_{part}"] = np.broadcast_to(
            colours[labels], (len(labels), 32, 32, 3)
        )
    np.savez_compressed(tmp_path / "cifar100.npz", **arrays)
    path, data = tmp_path / "run", f"--data_dir={tmp_path}"
    outcome = on_jax(
        [
            *("train", "--benchmark=cifar100_20", "--tasks=fish", data),
            *(f"--run_dir={path}", f"--json={tmp_path / 'train.json'}"),
            *("--config.epochs=1", "--config.decay_epochs=()"),
        ],
        ["evaluate", path, data, "--no_report", "--task_labels_only"],
        KERAS_BACKEND="jax",
    )
    (task,) = json.loads((tmp_path / "train.json").read_text())["tasks"]
    assert task["classes"] == [
        "aquarium_fish",
        "flatfish",
        "ray",
        "shark",
        "trout",
    ]
    accuracy = task["metrics"]["test_accuracy"]
    assert accuracy > 90
    # Beside the figure of the paper.
    assert re.search(rf"fish *│ *{accuracy:.1f} *│ *77\.4", outcome.out)
