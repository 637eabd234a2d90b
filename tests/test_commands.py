"""What the commands print and write, and the names that they know."""

import csv
import inspect
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cckeras import evaluate, names, predict, train, verify
from cckeras.backbones import BACKBONES
from cckeras.benchmarks import BENCHMARKS, benchmark
from cckeras.data.transforms import TRANSFORMS
from cckeras.evaluation.task_free import RULES
from cckeras.layers import cond_conv, per_image_convolution
from cckeras.methods import METHODS, finetune
from cckeras.recipes import check_recipe, load_recipe
from cckeras.runs import files
from cckeras.runs.records import STATISTICS
from cckeras.runs.run import Run
from cckeras.schemas import check_schema, schema
from tests.command import ROOT, copy_run, run, run_process, tree
from tests.runs.small import change_record

pytest_plugins = ("tests.small_run",)

FLAGS = {
    train: [
        "benchmark",
        "config.KEY",
        "data_dir",
        "dry_run",
        "json",
        "method",
        "run_dir",
        "tasks",
        "tensorboard",
        "threads",
        "workers",
    ],
    verify: ["json", "threads"],
    evaluate: [
        "data_dir",
        "json",
        "no_report",
        "reference",
        "task_labels_only",
        "threads",
    ],
    predict: ["format", "json", "rule", "task", "threads", "top"],
}


# Help.


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", FLAGS, ids=lambda module: module.__name__)
def test_help_shows_an_example_and_every_flag(command, word):
    outcome = run(command.main, "anything", word)
    assert (outcome.code, outcome.error) == (0, "")
    assert f"python -m {command.__name__} " in outcome.out
    lines = re.findall(r"^  --(\S+) +(\S.*)$", outcome.out, re.MULTILINE)
    assert sorted(name for name, _ in lines) == FLAGS[command]
    assert all(len(text) > 10 for _, text in lines)
    # Whatever the command reads from a flag is a flag.
    used = set(re.findall(r"\boptions\.(\w+)", inspect.getsource(command)))
    methods = {"config", "parse", "add_text", "add_number", "add_switch"}
    assert used - methods - {"add_threads"} <= set(FLAGS[command])


def test_help_needs_no_keras():
    modules = [command.__name__ for command in FLAGS]
    outcome = run_process(
        "-c",
        "import importlib, sys\n"
        "from cckeras.commands import exit_code\n"
        f"for name in {modules}:\n"
        "    exit_code(importlib.import_module(name).main, ['--help'])\n"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n",
    )
    assert (outcome.code, outcome.error) == (0, "")
    assert outcome.out.count("Flags:") == len(modules)


def test_ctrl_c_is_not_lost_in_the_garbage_collector():
    """Python drops what is raised in its callbacks; JAX has one."""
    outcome = run_process(
        "-c",
        "import gc, os, signal, time\n"
        "from cckeras.commands import run_command\n"
        "def interrupt(phase, info):\n"
        "    gc.callbacks.remove(interrupt)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "def main(arguments):\n"
        "    gc.callbacks.append(interrupt)\n"
        "    gc.collect()\n"
        "    time.sleep(30)\n"
        "run_command(main)\n",
    )
    assert outcome.code == 130
    assert outcome.error == (
        "error: interrupted; nothing is lost, run it again\n"
    )


# Names and recipes.


def test_names_are_those_of_the_registries():
    assert tuple(BENCHMARKS) == names.BENCHMARKS
    assert tuple(METHODS) == names.METHODS
    assert tuple(RULES) == names.RULES
    assert all(METHODS[name].name == name for name in METHODS)


def test_every_benchmark_has_a_recipe():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert files == {*names.BENCHMARKS, "recipe", "__init__"}


@pytest.mark.parametrize("method", names.METHODS)
@pytest.mark.parametrize("benchmark", names.BENCHMARKS)
def test_recipes_are_valid(benchmark, method):
    recipe = load_recipe(benchmark, method, {})
    check_recipe(recipe)
    assert recipe == json.loads(json.dumps(recipe))
    assert recipe["epochs"] > max(recipe["decay_epochs"])
    own = {
        "learning_rate": method != "scratch",
        "routing": method == "condconv",
        "sources": method == "finetune",
        "pretrained": benchmark in ("image_folder", "fine_grained6"),
    }
    assert {key: key in recipe for key in own} == own


@pytest.mark.parametrize(
    ("key", "known"),
    {
        "backbone": BACKBONES,
        "augmentation": TRANSFORMS,
        "routing": cond_conv.ROUTINGS,
        "expert_start": cond_conv.EXPERT_STARTS,
        "router_start": cond_conv.ROUTER_STARTS,
        "own_expert": cond_conv.OWN_EXPERTS,
        "implementation": per_image_convolution.IMPLEMENTATIONS,
        "sources": finetune.SOURCES,
    }.items(),
)
def test_the_schema_lists_the_registered_names(key, known):
    assert schema("config")["properties"][key]["enum"] == list(known)


def test_every_field_of_a_recipe_has_a_range():
    fields = schema("config")["properties"]
    for key, field in fields.items():
        assert {"enum", "description"} & set(field) or key == "pretrained", key
    used = set()
    for name in names.BENCHMARKS:
        for method in names.METHODS:
            used |= set(load_recipe(name, method, {}))
    assert used == set(fields)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "7", 7),
        ("l2", "0", 0.0),
        ("l2", "1e-3", 0.001),
        ("decay_epochs", "4", [4]),
        ("decay_epochs", "(4,6)", [4, 6]),
        ("decay_epochs", "[4, 6]", [4, 6]),
        ("decay_epochs", "()", []),
        ("mean", "(0,0.5,1)", [0, 0.5, 1]),
        ("routing", "task", "task"),
        ("seed", str(2**70), 2**70),
    ],
)
def test_values_of_a_recipe_are_changed(key, text, value):
    recipe = load_recipe("digits5", "condconv", {key: text})
    assert recipe[key] == value
    assert type(recipe[key]) is type(value)
    default = load_recipe("digits5", "condconv", {})
    assert {**recipe, key: default[key]} == default


# Train.


def test_train_reports_what_it_learned(digits_run):
    report = digits_run.json
    check_schema("train", report, "train.json")
    assert report["learned"] == ["zero_one", "two_three"]
    assert [task["classes"] for task in report["tasks"]] == [
        ["zero", "one"],
        ["two", "three"],
    ]
    settings = json.loads((digits_run.path / "run.json").read_text())
    assert report["id"] == settings["id"]
    out, error = digits_run.outcome.out, digits_run.outcome.error
    assert report["cost"]["timed"] == ["zero_one", "two_three"]
    assert out.index("Expected cost") < out.index("zero_one (new)")
    assert f"new run {digits_run.path}: condconv on digits5" in out
    for task in report["tasks"]:
        assert f"{task['name']} (new)" in out
        assert f"{task['parameters']:,}" in out
        assert f"{task['metrics']['test_accuracy']:.1f} %" in out
    assert "task 1 zero_one, train: epoch 1/2, accuracy " in error
    assert "task 2 two_three, train: epoch 2/2, accuracy " in error
    assert error.endswith(f"next: python -m cckeras.verify {digits_run.path}\n")


def test_the_same_command_again_changes_nothing(digits_run, tmp_path):
    copy = copy_run(digits_run.path, tmp_path / "copy")
    before = tree(copy)
    outcome = run(
        train.main,
        f"--run_dir={copy}",
        "--tasks=two_three,zero_one",
        "--config.epochs",
        "2",
        "--config.decay_epochs=1",
        f"--json={tmp_path / 'again.json'}",
    )
    assert outcome.code == 0
    assert tree(copy) == before
    report = json.loads((tmp_path / "again.json").read_text())
    assert report == {
        **digits_run.json,
        "run": str(copy),
        "learned": [],
        "cost": None,
    }
    assert "has learned all these tasks" in outcome.out
    assert "(new)" not in outcome.out


@pytest.mark.parametrize("begun", [False, True])
def test_a_dry_run_prints_the_cost_and_writes_nothing(
    digits_run, tmp_path, begun
):
    (tmp_path / "json").mkdir()
    report = tmp_path / "json/cost.json"
    path = tmp_path / "parent/run"
    tasks = "--tasks=zero_one,four_five"
    if begun:
        copy_run(digits_run.path, path)
    before = tree(tmp_path)
    words = [f"--run_dir={path}", tasks, "--dry_run"]
    words += ["--config.epochs=2", "--config.decay_epochs=1"]
    outcome = run(train.main, *words, f"--json={report}")
    assert outcome.code == 0, outcome.error
    result = json.loads(report.read_text())
    check_schema("train", result, report)
    assert sorted(result) == ["cost", "run"]
    learned = [task["name"] for task in result["cost"]["tasks"]]
    assert learned == ["zero_one"] * (not begun) + ["four_five"]
    assert "Expected cost" in outcome.out
    assert all(f"│ {name} " in outcome.out for name in learned)
    report.unlink()
    assert tree(tmp_path) == before


def test_train_writes_logs_for_tensorboard(tmp_path):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tensorboard")
    outcome = run(
        train.main,
        f"--run_dir={tmp_path / 'run'}",
        "--tasks=eight_nine",
        "--config.epochs=1",
        "--config.decay_epochs=()",
        "--method=scratch",
        "--tensorboard",
    )
    assert outcome.code == 0, outcome.error
    logs = tmp_path / "run/logs/01-eight_nine/train"
    assert [path.name for path in sorted(logs.iterdir())] == [
        "train",
        "validation",
    ]


# Verify.


def test_verify_reports_every_task(digits_run, tmp_path):
    before = tree(digits_run.path)
    path = tmp_path / "verify.json"
    outcome = run(verify.main, digits_run.path, f"--json={path}")
    assert (outcome.code, outcome.error) == (0, "")
    assert "every task is as it was committed (2 of 2)" in outcome.out
    report = json.loads(path.read_text())
    check_schema("verify", report, path)
    assert report["holds"]
    for task, verdict in zip(
        digits_run.json["tasks"], report["tasks"], strict=True
    ):
        assert verdict == {
            "task": task["name"],
            "files": "as committed",
            "tensors": f"{task['parameters']:,} equal",
            "alone": "equal, bit for bit",
            "recorded": "equal, bit for bit",
            "holds": True,
        }
    assert tree(digits_run.path) == before


def test_names_are_printed_as_they_are(digits_run, tmp_path, monkeypatch):
    # Brackets and colons mean something to the library that prints tables.
    monkeypatch.chdir(tmp_path)
    folder = Path("[red]a [/b] :dog: " + 30 * "long")
    folder.mkdir(parents=True)
    copy_run(digits_run.path, Path("[bold]run"))
    picture = folder / "0.png"
    Image.new("L", (16, 16)).save(picture)
    outcome = run(predict.main, "[bold]run", picture)
    assert (outcome.code, outcome.error) == (0, "")
    assert str(picture) in outcome.out
    outcome = run(verify.main, "[bold]run")
    assert outcome.code == 0
    assert "[bold]run: 2 tasks" in outcome.out


# Evaluate.


def test_evaluate_writes_json_and_report(digits_run, tmp_path):
    copy = copy_run(digits_run.path, tmp_path / "copy")
    before = tree(copy)
    path = tmp_path / "evaluate.json"
    outcome = run(evaluate.main, copy, f"--json={path}")
    assert (outcome.code, outcome.error) == (0, "")
    result = json.loads(path.read_text())
    check_schema("evaluate", result, path)
    assert result["tasks"] == ["zero_one", "two_three"]
    assert list(result["task_free"]) == sorted(names.RULES)
    for rule in names.RULES:
        assert f"│ {rule} " in outcome.out
    for value in result["task_incremental"]["accuracies"]:
        assert f"{value:.1f}" in outcome.out
    report = copy / "report"
    assert f"report: {report / 'report.html'}" in outcome.out
    assert json.loads((report / "report.json").read_text()) == result
    with open(report / "tasks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == result["tasks"]
    after = tree(copy)
    assert {name: after[name] for name in before} == before
    assert all(
        Path(name).is_relative_to(report) for name in set(after) - set(before)
    )


def test_a_first_task_that_came_as_weights_alone_is_left_out(
    digits_run, tmp_path
):
    """Its pictures need not be there, even if the benchmark has such a task."""
    copy = copy_run(digits_run.path, tmp_path / "copy")
    record = copy / "tasks" / "01-zero_one" / "task.json"
    metrics = dict.fromkeys(("validation_accuracy", "test_accuracy"))
    change_record(record, data=None, phases=[], metrics=metrics)
    path = tmp_path / "evaluate.json"
    outcome = run(evaluate.main, copy, f"--json={path}")
    assert outcome.code == 0, outcome.error
    assert json.loads(path.read_text())["tasks"] == ["two_three"]
    assert "left out: zero_one" in outcome.out
    report = (copy / "report" / "report.md").read_text()
    assert "--tasks=two_three" in report


def test_evaluate_with_labels_alone_and_no_report(digits_run, tmp_path):
    before = tree(digits_run.path)
    path = tmp_path / "evaluate.json"
    outcome = run(
        evaluate.main,
        digits_run.path,
        "--task_labels_only",
        "--no_report",
        f"--json={path}",
    )
    assert (outcome.code, outcome.error) == (0, "")
    result = json.loads(path.read_text())
    check_schema("evaluate", result, path)
    assert result["task_free"] == {}
    recorded = [
        task["metrics"]["test_accuracy"] for task in digits_run.json["tasks"]
    ]
    assert result["task_incremental"]["accuracies"] == recorded
    assert "task free" not in outcome.out
    assert tree(digits_run.path) == before


# Predict.


@pytest.fixture(scope="session")
def digits(digits_run, tmp_path_factory):
    """A folder of digits as 16x16 PNGs, four of each task's test part."""
    folder = tmp_path_factory.mktemp("digits")
    config = Run.open(digits_run.path).config
    tasks = benchmark("digits5")(config)
    for task in ("zero_one", "two_three"):
        pixels = tasks.load(task).test.images.read(np.arange(4))
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{task}_{number}.png")
    return folder


def expected_shares(run_path, pictures):
    """Return `{task: probabilities [N, classes]}`, straight from the networks."""
    loaded = Run.open(run_path)
    method = loaded.load()
    images = np.stack([np.array(Image.open(path)) for path in pictures])
    shares = {}
    for task in loaded.tasks:
        logits = np.asarray(
            method.task_model(task.name)(images.astype("float32")), np.float64
        )
        powers = np.exp(logits - logits.max(1, keepdims=True))
        shares[task] = powers / powers.sum(1, keepdims=True)
    return shares


@pytest.mark.parametrize("given", [None, "two_three"])
def test_predict_agrees_with_the_networks(digits_run, digits, tmp_path, given):
    path = tmp_path / "predict.json"
    words = [digits_run.path, digits, f"--json={path}", "--format=json"]
    words += [f"--task={given}" if given else "--rule=max_probability"]
    outcome = run(predict.main, *words, "--top=9")
    assert (outcome.code, outcome.error) == (0, "")
    result = json.loads(path.read_text())
    assert json.loads(outcome.out) == result
    check_schema("predict", result, path)
    assert result["task"] == given
    assert result["rule"] == (None if given else "max_probability")
    pictures = sorted(digits.iterdir())
    shares = expected_shares(digits_run.path, pictures)
    for row, (picture, found) in enumerate(
        zip(pictures, result["pictures"], strict=True)
    ):
        assert found["path"] == str(picture)
        task = max(
            (task for task in shares if given in (None, task.name)),
            key=lambda task: shares[task][row].max(),
        )
        assert found["task"] == task.name
        own = dict(zip(task.classes, shares[task][row], strict=True))
        ranked = sorted(own, key=own.get, reverse=True)
        assert [best["class"] for best in found["top"]] == ranked
        for best in found["top"]:
            assert best["probability"] == pytest.approx(
                own[best["class"]], abs=2e-6
            )
        assert {key: found[key] for key in ("class", "probability")} == (
            found["top"][0]
        )


def test_predict_asks_the_gate_where_there_is_one(digits_run, digits, tmp_path):
    def rule_and_tasks(path, *words):
        outcome = run(predict.main, path, digits, "--format=json", *words)
        assert outcome.code == 0, outcome.error
        result = json.loads(outcome.out)
        return result["rule"], [row["task"] for row in result["pictures"]]

    default = rule_and_tasks(digits_run.path)
    assert default == rule_and_tasks(digits_run.path, "--rule=agreed")
    assert default[0] == "agreed"
    # A run of an earlier version has no statistics.
    old = copy_run(digits_run.path, tmp_path / "run")
    for path in old.glob("tasks/*/task.json"):
        record = json.loads(path.read_text())
        del record["files"][STATISTICS]
        path.write_bytes(files.dump_json(files.seal(record)))
    assert rule_and_tasks(old)[0] == "max_probability"
    outcome = run(predict.main, old, digits, "--rule=gated")
    assert outcome.code == 2
    assert (
        "--rule=gated. Received: none of zero_one, two_three" in outcome.error
    )


def test_predict_cuts_pictures_as_the_task_did(digits_run, digits, tmp_path):
    """A task of stretched pictures finds in a wide one what is in its squeezed
    copy."""
    first, *_ = sorted(digits.iterdir())
    squeezed = np.array(Image.open(first).convert("RGB"))
    wide = tmp_path / "wide.png"
    Image.fromarray(squeezed.repeat(3, 1)).save(wide)
    warping = copy_run(digits_run.path, tmp_path / "run")
    record = warping / "tasks" / "02-two_three" / "task.json"
    change_record(record, framing={"warp": True})

    def probability(folder, picture):
        words = "--task=two_three", "--format=json"
        outcome = run(predict.main, folder, picture, *words)
        assert outcome.code == 0, outcome.error
        return json.loads(outcome.out)["pictures"][0]["probability"]

    expected = probability(digits_run.path, first)
    stretched = abs(probability(warping, wide) - expected)
    cut = abs(probability(digits_run.path, wide) - expected)
    assert stretched < 1e-4 < cut, (stretched, cut)


@pytest.mark.parametrize("rule", names.RULES)
def test_predict_names_the_answer_first(digits_run, digits, rule):
    outcome = run(
        predict.main, digits_run.path, digits, f"--rule={rule}", "--format=json"
    )
    result = json.loads(outcome.out)
    assert result["rule"] == rule
    for found in result["pictures"]:
        (best,) = found["top"]
        assert best == {
            "class": found["class"],
            "probability": found["probability"],
        }


def test_predict_prints_a_row_for_each_picture(digits_run, digits, monkeypatch):
    first, second, *_ = sorted(digits.iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{second}\n\n{first}\n"))
    outcome = run(
        predict.main, digits_run.path, first, "-", "--task=zero_one", "--top=2"
    )
    assert (outcome.code, outcome.error) == (0, "")
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in outcome.out.splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows] == [
        *(str(first), ""),
        *(str(second), ""),
        *(str(first), ""),
    ]
    assert [row[1] for row in rows] == ["zero_one", ""] * 3
    for start in range(0, 6, 2):
        two = rows[start : start + 2]
        assert {row[2] for row in two} == {"zero", "one"}
        assert float(two[0][3]) >= float(two[1][3])
        assert sum(float(row[3]) for row in two) == pytest.approx(1, abs=2e-3)


def test_predict_reads_pictures_of_any_mode(digits_run, digits, tmp_path):
    rgb = Image.open(digits / "zero_one_0.png")
    grey = np.array(rgb)[..., 0]
    kinds = {
        "0.png": rgb,
        "1.png": Image.fromarray(grey),
        "2.png": rgb.quantize(64),
        "3.tif": rgb.convert("CMYK"),
        "4.png": rgb.convert("RGBA"),
        "5.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "6.bmp": rgb,
        "7.webp": rgb,
    }
    assert len({kind.mode for kind in kinds.values()}) == 6
    for name, picture in kinds.items():
        picture.save(
            tmp_path / name, **{"lossless": True} if "w" in name else {}
        )
    outcome = run(predict.main, digits_run.path, tmp_path, "--format=json")
    assert (outcome.code, outcome.error) == (0, "")
    first, *others = json.loads(outcome.out)["pictures"]
    assert len(others) == len(kinds) - 1
    for other in others:
        assert {**other, "path": first["path"]} == first


def test_predict_reads_pictures_of_any_size(digits_run, tmp_path):
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        for size in ((1, 1), (37, 61), (300, 17)):
            name = f"{mode.replace(';', '')}_{size[0]}.png"
            Image.new(mode, size).save(tmp_path / name)
    outcome = run(
        predict.main, digits_run.path, tmp_path, "--format=json", "--top=2"
    )
    assert (outcome.code, outcome.error) == (0, "")
    results = json.loads(outcome.out)["pictures"]
    assert len(results) == 21
    for found in results:
        total = sum(best["probability"] for best in found["top"])
        assert total == pytest.approx(1, abs=1e-5)
