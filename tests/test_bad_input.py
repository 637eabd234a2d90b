"""Bad input: exit code 2, one line that helps, nothing written or lost."""

import errno
import io
import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cckeras import evaluate, predict, train, verify
from cckeras.runs import files
from cckeras.runs.lock import RunLock
from cckeras.runs.run import Run
from tests.command import (
    Outcome,
    copy_run,
    environment,
    make_pictures,
    run,
    run_process,
    tree,
)

pytest_plugins = ("tests.small_run",)

PICTURE = "{pictures}/cats/test/dark/0.png"
COMMANDS = {
    "verify": (verify.main, ""),
    "evaluate": (evaluate.main, ""),
    "predict": (predict.main, f" {PICTURE}"),
}


class Place(NamedTuple):
    """A fresh working folder, beside things that no command may change."""

    folder: Path
    run: Path
    pictures: Path


@pytest.fixture
def place(tmp_path, monkeypatch, digits_run, pictures):
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, digits_run.path, pictures)


def check_bad_input(outcome: Outcome, *says: str):
    """Check the exit code and that one line helps and says certain things."""
    assert outcome.code == 2, outcome
    line, end, rest = outcome.error.partition("\n")
    assert (end, rest) == ("\n", ""), outcome.error
    assert re.fullmatch(r"error: Expected .+ \(?[Rr]eceived:? .+[.?]", line), (
        line
    )
    assert len(line) < 800, line
    for text in says:
        assert text in line


def case(name, main, line, *says, prepare=None):
    return pytest.param(main, line, says, prepare, id=name)


def check_case(place, main, line, says, prepare):
    """Run a case; check its message and that no file has changed."""
    if prepare:
        prepare(place)
    before = tree(*place)
    words = shlex.split(line.format(run=place.run, pictures=place.pictures))
    outcome = run(main, *words)
    check_bad_input(outcome, *says)
    assert tree(*place) == before


# Flags, recipes and arguments.


def bad_line(name, line, *says):
    return case(name, train.main, f"--run_dir=new {line}", *says)


LINES = [
    bad_line(
        "unknown benchmark",
        "--benchmark=digit5",
        "--benchmark to be one of",
        "Received: 'digit5'. Did you mean 'digits5'?",
    ),
    bad_line(
        "unknown method",
        "--method=condcon",
        "--method to be one of",
        "Received: 'condcon'. Did you mean 'condconv'?",
    ),
    bad_line("unknown flag", "--benchmarks=x", "--benchmarks", "'benchmark'?"),
    bad_line(
        "recipe as a flag", "--epochs=3", "--epochs", "'--config.epochs'?"
    ),
    bad_line(
        "unknown config key",
        "--config.epoch=3",
        "--config key",
        "Received: 'epoch'. Did you mean 'epochs'?",
    ),
    bad_line(
        "config key of another method",
        "--method=scratch --config.routing=task",
        "--config key of scratch on digits5",
        "'routing'",
    ),
    bad_line(
        "number as text", "--threads=two", "--threads", "0..1024", "'two'"
    ),
    bad_line("negative number", "--threads=-1", "--threads", "'-1'"),
    bad_line("too large a number", "--threads=5000", "--threads", "'5000'"),
    bad_line("no value", "--threads", "--threads=VALUE", "no value"),
    bad_line(
        "next flag as value",
        "--data_dir --tasks=zero_one",
        "--data_dir=VALUE",
        "no value",
    ),
    bad_line(
        "switch with a word",
        "--tensorboard=perhaps",
        "--notensorboard",
        "--tensorboard=perhaps",
    ),
    bad_line(
        "switched off with a word", "--notensorboard=1", "--notensorboard"
    ),
    bad_line("no config value", "--config.epochs", "--config.epochs=VALUE"),
    bad_line(
        "next flag as config value",
        "--config.epochs --config.l2=0",
        "--config.epochs=VALUE",
    ),
    bad_line("config without a key", "--config=3", "--config.KEY=VALUE"),
    bad_line("text for an integer", "--config.epochs=ten", "int", "'ten'"),
    bad_line("fraction for an integer", "--config.epochs=1.5", "int", "'1.5'"),
    bad_line("text for a float", "--config.l2=small", "float", "'small'"),
    bad_line("infinite float", "--config.l2=1e999", "float", "'1e999'"),
    bad_line("text for a tuple", "--config.mean=grey", "tuple", "'grey'"),
    bad_line("integer too small", "--config.epochs=0", "1..100000", "0."),
    bad_line("size too small", "--config.image_size=8", "16..1024", "8."),
    bad_line("float too small", "--config.l2=-1", "0 or more", "-1.0"),
    bad_line("rate of zero", "--config.learning_rate=0", "above 0", "0.0"),
    bad_line("batch too small", "--config.batch_size=1", "2..65536"),
    bad_line("tuple too short", "--config.mean=0.5", "three numbers", "[0.5]"),
    bad_line(
        "tuple out of range",
        "--config.std=(0,1,1)",
        "--config.std",
        "[0, 1, 1]",
    ),
    bad_line(
        "epochs out of order", "--config.decay_epochs=(8,5)", "order", "(8, 5)"
    ),
    bad_line("epoch of zero", "--config.decay_epochs=0", "1 or more"),
    bad_line(
        "unknown choice",
        "--config.backbone=resnet",
        "conv4, resnet18, resnet18_imagenet, resnet50",
        "'resnet'. Did you mean 'resnet50'?",
    ),
    bad_line("arguments that train has none of", "zero_one", "'zero_one'"),
    case("no run_dir", train.main, "", "--run_dir=FOLDER"),
    case("empty run_dir", train.main, "--run_dir=", "--run_dir=FOLDER"),
    bad_line(
        "unknown task",
        "--tasks=zero_on",
        "--tasks",
        "Received: 'zero_on'. Did you mean 'zero_one'?",
    ),
    bad_line("task twice", "--tasks=zero_one,zero_one", "'zero_one' twice"),
    bad_line("path as task", "--tasks=../zero_one", "'../zero_one'"),
    bad_line("parent folder as task", "--tasks=..", "'..'"),
    bad_line("no task", "--tasks=", "no name"),
    bad_line(
        "no json folder", "--json=no/x.json", "--json=no/x.json", "no folder"
    ),
    bad_line("json is a folder", "--json=.", "--json=. to be a file"),
    case("verify nothing", verify.main, "", "cckeras.verify with RUN", "none"),
    case("verify two runs", verify.main, "{run} {run}", "RUN"),
    case(
        "verify threads", verify.main, "{run} --threads=x", "--threads", "'x'"
    ),
    case("evaluate json", evaluate.main, "{run} --json=no/x", "--json=no/x"),
    case(
        "evaluate unknown flag",
        evaluate.main,
        "{run} --no_reports",
        "'no_report'?",
    ),
    case(
        "predict with a task and a rule",
        predict.main,
        f"{{run}} {PICTURE} --task=zero_one --rule=entropy",
        "--task or --rule",
    ),
    case("predict no picture", predict.main, "{run}", "RUN PICTURE..."),
    case(
        "predict unknown task",
        predict.main,
        f"{{run}} {PICTURE} --task=zero_on",
        "one of zero_one, two_three",
        "Received: 'zero_on'. Did you mean 'zero_one'?",
    ),
    case(
        "predict unknown rule",
        predict.main,
        f"{{run}} {PICTURE} --rule=max_logits",
        "published, max_logit, max_probability",
        "Did you mean 'max_logit'?",
    ),
    case(
        "predict unknown format",
        predict.main,
        f"{{run}} {PICTURE} --format=jsn",
        "table, json",
        "Did you mean 'json'?",
    ),
    case(
        "predict top",
        predict.main,
        f"{{run}} {PICTURE} --top=0",
        "--top",
        "'0'",
    ),
    case(
        "predict json", predict.main, f"{{run}} {PICTURE} --json=no/x", "no/x"
    ),
]


@pytest.mark.parametrize(("main", "line", "says", "prepare"), LINES)
def test_command_lines(place, main, line, says, prepare):
    check_case(place, main, line, says, prepare)


# Run folders.


def copied(change):
    """Return a preparation: a copy of the run, changed."""

    def prepare(place):
        change(copy_run(place.run, place.folder / "copy"))

    return prepare


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_json(path, **values):
    """Change fields of a sealed record, and seal it again."""
    record = {**json.loads(path.read_bytes()), **values}
    path.write_bytes(files.dump_json(files.seal(record)))


def new_run(place):
    """Make a run without tasks."""
    settings = json.loads((place.run / "run.json").read_bytes())
    (place.folder / "copy").mkdir()
    Run.create(place.folder / "copy", "condconv", "digits5", settings["config"])


FOLDERS = {
    "missing": (lambda place: None, ["'copy'", "not a folder"]),
    "file": (
        lambda place: (place.folder / "copy").write_text("x"),
        ["'copy'", "not a folder"],
    ),
    "empty": (
        lambda place: (place.folder / "copy").mkdir(),
        ["run.json", "'copy'"],
    ),
    "not ours": (
        lambda place: make_pictures(place.folder / "copy"),
        ["run.json", "'copy'"],
    ),
    "without tasks": (new_run, ["copy", "none yet", "Train"]),
    "newer format": (
        copied(lambda run: change_json(run / "run.json", format=99)),
        ["run.json", "format 99", "Upgrade"],
    ),
    "truncated run.json": (
        copied(lambda run: truncate(run / "run.json")),
        ["copy/run.json", "damaged"],
    ),
    "edited run.json": (
        copied(
            lambda run: (run / "run.json").write_text(
                (run / "run.json").read_text().replace("zeros", "mean")
            )
        ),
        ["copy/run.json", "damaged"],
    ),
    "incomplete run.json": (
        copied(lambda run: (run / "run.json").write_text("{}")),
        ["copy/run.json", "'format'"],
    ),
    "truncated task.json": (
        copied(lambda run: truncate(run / "tasks/01-zero_one/task.json")),
        ["copy/tasks/01-zero_one/task.json", "damaged"],
    ),
    "missing task.json": (
        copied(lambda run: (run / "tasks/02-two_three/task.json").unlink()),
        ["copy/tasks/02-two_three/task.json", "missing"],
    ),
    "missing task": (
        copied(lambda run: files.remove(run / "tasks/01-zero_one")),
        ["task 1", "copy/tasks"],
    ),
    "no task left": (
        copied(lambda run: files.remove(run / "tasks")),
        ["copy/tasks"],
    ),
    "foreign LAST": (
        copied(lambda run: (run / "LAST").write_text("the second one\n")),
        ["copy/LAST", "the second one"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_run_folders(place, command, folder):
    main, more = COMMANDS[command]
    prepare, says = FOLDERS[folder]
    check_case(place, main, f"copy{more}", says, prepare)


TRAINED = [
    case(
        "other recipe",
        train.main,
        "--run_dir={run} --config.epochs=3 --config.l2=0",
        "epochs=2 (received 3)",
        "l2=4e-05 (received 0.0)",
        "another --run_dir",
    ),
    case(
        "other method",
        train.main,
        "--run_dir={run} --method=scratch",
        "--method=condconv",
        "--method=scratch",
    ),
    case(
        "other benchmark",
        train.main,
        "--run_dir={run} --benchmark=image_folder --data_dir={pictures}",
        "--benchmark=digits5",
        "--benchmark=image_folder",
    ),
    case(
        "not a run",
        train.main,
        "--run_dir=copy",
        "run.json",
        "'copy'",
        prepare=FOLDERS["not ours"][0],
    ),
    case(
        "cost of what is not a run",
        train.main,
        "--run_dir=copy --dry_run",
        "run.json",
        "'copy'",
        prepare=FOLDERS["not ours"][0],
    ),
    case(
        "run_dir is a file",
        train.main,
        "--run_dir=copy",
        "'copy'",
        "not a folder",
        prepare=FOLDERS["file"][0],
    ),
    case(
        "run_dir below a file",
        train.main,
        "--run_dir=copy/run",
        "--run_dir=copy/run",
        "Not a directory",
        prepare=FOLDERS["file"][0],
    ),
    case(
        "damaged run",
        train.main,
        "--run_dir=copy",
        "copy/run.json",
        "damaged",
        prepare=FOLDERS["truncated run.json"][0],
    ),
    case(
        "damaged weights",
        train.main,
        "--run_dir=copy --config.epochs=2 --config.decay_epochs=1",
        "copy/tasks/01-zero_one/weights.safetensors",
        "damaged",
        prepare=copied(
            lambda run: truncate(run / "tasks/01-zero_one/weights.safetensors")
        ),
    ),
    case(
        "lost LAST",
        train.main,
        "--run_dir=copy --config.epochs=2 --config.decay_epochs=1",
        "LAST",
        prepare=copied(lambda run: (run / "LAST").unlink()),
    ),
    case(
        "evaluate truncated weights",
        evaluate.main,
        "copy",
        "copy/tasks/02-two_three/weights.safetensors",
        "damaged",
        prepare=copied(
            lambda run: truncate(run / "tasks/02-two_three/weights.safetensors")
        ),
    ),
    case(
        "evaluate reference missing",
        evaluate.main,
        "{run} --reference=nowhere",
        "nowhere",
        "not a folder",
    ),
    case(
        "evaluate reference truncated",
        evaluate.main,
        "{run} --reference=copy",
        "copy/tasks/02-two_three/task.json",
        prepare=copied(
            lambda run: truncate(run / "tasks/02-two_three/task.json")
        ),
    ),
    case(
        "predict missing weights",
        predict.main,
        f"copy {PICTURE}",
        "copy/tasks/01-zero_one/weights.safetensors",
        "No such file",
        prepare=copied(
            lambda run: (run / "tasks/01-zero_one/weights.safetensors").unlink()
        ),
    ),
]


@pytest.mark.parametrize(("main", "line", "says", "prepare"), TRAINED)
def test_trained_runs(place, main, line, says, prepare):
    check_case(place, main, line, says, prepare)


def test_a_locked_run_names_the_process(place):
    copy_run(place.run, place.folder / "copy")
    with RunLock(place.folder / "copy"):
        check_case(
            place,
            train.main,
            "--run_dir=copy --config.epochs=2 --config.decay_epochs=1",
            ["locked by", str(os.getpid()), "LOCK"],
            None,
        )


def test_verify_fails_with_1_and_names_the_damaged_file(place):
    copy = copy_run(place.run, place.folder / "copy")
    truncate(copy / "tasks/01-zero_one/weights.safetensors")
    before = tree(copy)
    outcome = run(verify.main, "copy", "--json=verdict.json")
    assert outcome.code == 1
    assert "copy/tasks/01-zero_one/weights.safetensors" in outcome.out
    assert "NOT as committed: zero_one" in outcome.error
    assert outcome.error.count("\n") == 1
    assert json.loads(Path("verdict.json").read_text())["holds"] is False
    assert tree(copy) == before


# Pictures to learn from.


def pictures_with(change):
    """Return a preparation: a data folder of one task `cats`, changed."""

    def prepare(place):
        change(make_pictures(place.folder / "data" / "cats"))

    return prepare


def data(name, change, *says, options="--data_dir=data"):
    return case(
        name,
        train.main,
        f"--benchmark=image_folder --run_dir=new {options}",
        *says,
        prepare=change,
    )


DATA = [
    data("no data_dir", None, "--data_dir=DIR", options=""),
    data("missing", None, "data", "missing"),
    data(
        "a file",
        lambda place: (place.folder / "data").write_text("x"),
        "data",
        "a file",
    ),
    data(
        "empty",
        lambda place: (place.folder / "data").mkdir(),
        "data",
        "<task>/<train|validation|test>/<class>",
    ),
    data(
        "one task",
        lambda place: make_pictures(place.folder / "data"),
        "data",
        "one task",
    ),
    data(
        "one class",
        pictures_with(
            lambda cats: [files.remove(p) for p in cats.glob("*/dark")]
        ),
        "data/cats/train",
        "1",
    ),
    data(
        "no picture of a class",
        pictures_with(
            lambda cats: [p.unlink() for p in cats.glob("train/dark/*")]
        ),
        "data/cats/train/dark",
    ),
    data(
        "classes differ",
        pictures_with(
            lambda cats: (cats / "test/dark").rename(cats / "test/darker")
        ),
        "data/cats/test",
        "dark in train alone",
        "darker in test alone",
    ),
    data(
        "unknown split",
        pictures_with(lambda cats: (cats / "test").rename(cats / "tests")),
        "data/cats/tests",
        "'test'?",
    ),
    data(
        "no train",
        pictures_with(lambda cats: files.remove(cats / "train")),
        "data/cats/train",
    ),
    data(
        "zero bytes",
        pictures_with(lambda cats: (cats / "test/dark/1.png").write_bytes(b"")),
        "data/cats/test/dark/1.png",
        "empty",
    ),
    data(
        "cut off",
        pictures_with(lambda cats: truncate(cats / "train/light/2.png")),
        "data/cats/train/light/2.png",
    ),
    data(
        "many unreadable",
        pictures_with(
            lambda cats: [
                p.write_text("no") for p in cats.glob("train/light/*")
            ]
        ),
        "4 that are not",
        "data/cats/train/light/0.png",
    ),
    data(
        "bar in a task's name",
        pictures_with(lambda cats: cats.rename(cats.with_name("cats|dogs"))),
        "'cats|dogs'",
        "Rename",
    ),
    data(
        "at sign in a task's name",
        pictures_with(lambda cats: cats.rename(cats.with_name("cats@home"))),
        "'cats@home'",
        "Rename",
    ),
    data(
        "second task",
        pictures_with(
            lambda cats: (
                make_pictures(cats.with_name("dogs")) / "train/dark/0.png"
            ).write_text("no")
        ),
        "data/dogs/train/dark/0.png",
    ),
    data(
        "pretrained is missing",
        None,
        "'nothing'",
        options="--data_dir={pictures} --config.pretrained=nothing",
    ),
    data(
        "pretrained has another shape",
        None,
        "image_size=64",
        "with image_size=16",
        "--config.image_size",
        options="--data_dir={pictures} --config.pretrained={run}",
    ),
    data(
        "pretrained is a pickle",
        lambda place: (place.folder / "net.pth").write_bytes(
            pickle.dumps(print)
        ),
        "'net.pth', a pickle",
        "safetensors",
        options="--data_dir={pictures} --config.pretrained=net.pth",
    ),
    data(
        "pretrained is of another backbone",
        None,
        "--config.backbone=resnet50_v1",
        "conv4",
        options="--data_dir={pictures} --config.pretrained=imagenet",
    ),
    data(
        "pretrained has no task",
        new_run,
        "--config.pretrained",
        "copy, which has none",
        options="--data_dir={pictures} --config.pretrained=copy",
    ),
]


@pytest.mark.parametrize(("main", "line", "says", "prepare"), DATA)
def test_data(place, main, line, says, prepare):
    check_case(place, main, line, says, prepare)


def unreachable(request, timeout):
    raise OSError(f"cannot reach\n{request.host}")


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        (False, "tensorflow-datasets"),
        (True, "OSError: cannot reach www.cs.toronto.edu"),
    ],
    ids=["not installed", "no network"],
)
def test_cifar100_that_cannot_be_had(place, monkeypatch, installed, says):
    if installed:
        pytest.importorskip("tensorflow_datasets")
    else:
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    (place.folder / "empty").mkdir()
    check_case(
        place,
        train.main,
        "--benchmark=cifar100_20 --run_dir=new --data_dir=empty",
        [says, "cifar100.npz", "cifar-100-python.tar.gz", "--data_dir"],
        None,
    )


def test_evaluate_refuses_classes_that_were_not_trained(place):
    # Same name, other classes: the answers could not be compared.
    make_pictures(place.folder / "data" / "zero_one")
    copy = copy_run(place.run, place.folder / "copy")
    change_json(copy / "run.json", benchmark="image_folder")
    check_case(
        place,
        evaluate.main,
        "copy --data_dir=data",
        ["'zero_one'", "zero, one", "dark, light"],
        None,
    )


def test_evaluate_needs_the_data_of_a_task(place):
    copy = copy_run(place.run, place.folder / "copy")
    change_json(copy / "run.json", benchmark="image_folder")
    check_case(
        place,
        evaluate.main,
        "copy --data_dir={pictures}",
        ["test images", "copy", "--data_dir"],
        None,
    )


# Pictures to name.


PICTURES = [
    case("missing", predict.main, "{run} no.png", "'no.png'"),
    case(
        "zero bytes",
        predict.main,
        "{run} 0.png",
        "0.png",
        "empty",
        prepare=lambda place: (place.folder / "0.png").write_bytes(b""),
    ),
    case(
        "two that are no pictures",
        predict.main,
        "{run} .",
        "2 that are not",
        "0.png",
        "1.jpg",
        prepare=lambda place: [
            (place.folder / name).write_text("no")
            for name in ("0.png", "1.jpg")
        ],
    ),
    case(
        "folder without pictures",
        predict.main,
        "{run} .",
        "at least one picture",
        "none",
        prepare=lambda place: (place.folder / "notes.txt").write_text("no"),
    ),
]


@pytest.mark.parametrize(("main", "line", "says", "prepare"), PICTURES)
def test_pictures(place, main, line, says, prepare):
    check_case(place, main, line, says, prepare)


def test_standard_input_without_a_line(place, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    check_case(place, predict.main, "{run} -", ["at least one picture"], None)


def test_standard_input_with_a_missing_picture(place, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("no.png\n"))
    check_case(place, predict.main, "{run} -", ["'no.png'"], None)


# The machine.


@pytest.mark.parametrize(
    ("name", "says"),
    [("torch", "torch"), ("tensorflw", "Did you mean 'tensorflow'?")],
)
@pytest.mark.parametrize("line", ["--run_dir=new", "{run}"])
def test_backend_that_is_not_installed(place, monkeypatch, name, says, line):
    if name == "tensorflw":
        pytest.importorskip("tensorflow")
    monkeypatch.setenv("KERAS_BACKEND", name)
    main = train.main if line.startswith("--") else evaluate.main
    check_case(place, main, line, ["KERAS_BACKEND", says, "installed"], None)


ENDINGS = [
    pytest.param(
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json"),
        2,
        "No space left on device state.json. Make room",
        id="no space left",
    ),
    pytest.param(KeyboardInterrupt(), 130, "interrupted", id="interrupted"),
]


@pytest.mark.parametrize(("error", "code", "says"), ENDINGS)
def test_training_that_ended_goes_on(
    place, monkeypatch, digits_run, error, code, says
):
    words = [
        "--run_dir=new",
        "--json=new.json",
        "--tasks=zero_one",
        "--config.epochs=2",
        "--config.decay_epochs=1",
    ]
    write, writes = files.write, []

    def failing_write(path, content):
        # The first epoch is stored; the second one's checkpoint is not.
        writes.append(path)
        if len([path for path in writes if path.name == "state.json"]) == 2:
            raise error
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", failing_write)
        outcome = run(train.main, *words)
    assert outcome.code == code
    *_, progress, line = outcome.error.splitlines()
    assert "task 1 zero_one" in progress
    assert line.startswith("error: ")
    assert says in line
    assert not Path("new.json").exists()
    assert not Path("new/LOCK").exists()
    assert run(train.main, *words).code == 0
    (task,) = json.loads(Path("new.json").read_text())["tasks"]
    assert task["digest"] == digits_run.json["tasks"][0]["digest"]


def test_a_new_run_without_room_leaves_nothing(place, monkeypatch):
    def failing_write(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "write", failing_write)
    check_case(
        place,
        train.main,
        "--run_dir=some/new",
        ["some/new", "No space left on device", "make room"],
        None,
    )


# Processes of their own.


PROCESSES = {
    "flag": ("cckeras.train", "--run_dir=new --bechmark=x", ["'benchmark'?"]),
    "run": ("cckeras.predict", f"copy {PICTURE}", ["copy/run.json"]),
    "recipe": (
        "cckeras.train",
        "--run_dir={run} --config.epochs=5",
        ["epochs=2 (received 5)"],
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_processes(place, name):
    module, line, says = PROCESSES[name]
    FOLDERS["truncated run.json"][0](place)
    before = tree(*place)
    words = shlex.split(line.format(run=place.run, pictures=place.pictures))
    outcome = run_process("-m", module, *words)
    check_bad_input(outcome, *says)
    assert outcome.out == ""
    assert tree(*place) == before


def test_an_interrupted_process(place):
    words = ["--run_dir=new", "--tasks=zero_one", "--config.epochs=1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cckeras.train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        # On a slow machine it tells first what it is doing.
        assert any("epoch 1/1000" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "new run new" in out
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("error: interrupted")
    assert sorted(path.name for path in Path("new").iterdir()) == [
        "run.json",
        "tasks",
        "training",
    ]


def test_a_reader_that_left(place):
    process = subprocess.Popen(
        [sys.executable, "-m", "cckeras.train", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 0


WITHOUT_PRIVILEGES = """
import ctypes, os, sys
# Root writes where it may not, by the capability CAP_DAC_OVERRIDE.
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) != 0:
    sys.exit("prctl")
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
READ_ONLY = {
    "train": (
        "cckeras.train",
        "--run_dir=copy --config.epochs=2 --config.decay_epochs=1",
        ["copy", "Permission denied"],
    ),
    "evaluate": ("cckeras.evaluate", "copy", ["copy", "--no_report"]),
    "json": ("cckeras.verify", "{run} --json=copy/x", ["--json=copy/x"]),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_folders(place, name):
    module, line, says = READ_ONLY[name]
    copy = copy_run(place.run, place.folder / "copy")
    copy.chmod(0o555)
    before = tree(*place)
    words = shlex.split(line.format(run=place.run))
    outcome = run_process("-c", WITHOUT_PRIVILEGES, module, *words)
    copy.chmod(0o755)
    if outcome.error == "prctl\n":
        pytest.skip("this process may not drop its privileges")
    check_bad_input(outcome, *says)
    assert tree(*place) == before
