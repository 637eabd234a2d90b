"""The report: whole, self-contained, escaped, reproducible."""

import csv
import json
import re
import shlex
import types
from html.parser import HTMLParser

import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.evaluation.mistakes import Mistake
from cckeras.evaluation.report import write_report
from cckeras.evaluation.tables import training_command
from cckeras.recipes import load_recipe

NAMES = ["fish & <chips>", "_b|c_", "insects"]
PUBLISHED = {"fish & <chips>": 65.5, "insects": 81.25, "of another run": 1.0}
ROUTING = {
    "_b|c_": {
        "conv<1>": {
            "experts": NAMES[:2],
            "mean": [0.375, 0.5],
            "std": [0.0125, 0.0625],
        }
    }
}
MISTAKES = {
    "_b|c_": [
        Mistake(
            np.full((32, 24, 3), 40 * number, np.uint8),
            f"DIR/test/<b>/{number}.jpg",
            "a<1>",
            0.875,
            "b",
        )
        for number in range(7)
    ]
}
FILES = {
    "mistakes.csv",
    "report.html",
    "report.md",
    "report.json",
    "tasks.csv",
    "accuracy_matrix.csv",
}
PLOTS = {
    "mistakes.svg",
    "accuracies.svg",
    "accuracy_matrix.svg",
    "learning_curves.svg",
    "routing_weights.svg",
    "size.svg",
}


def fake_run(path, names=NAMES):
    """Return a run's settings and records, with only what the report reads."""
    history = {
        "accuracy": [0.25, 0.5],
        "loss": [1.5, 1.25],
        "val_accuracy": [0.375, 0.5],
        "val_loss": [1.25, 1.0],
    }
    records = [
        {
            "name": name,
            "number": number,
            "classes": ["a", "b"],
            "parameters": 114_000 + number,
            "multiply_adds": 14_000_000 + number,
            "environment": {
                "backend": "tensorflow",
                "backend_version": "2.21.0",
                "keras": "3.15.1",
                "processor": "Xeon <fast> & hot",
                "threads": number // 3,
            },
            "phases": [
                {"name": "train", "epochs": 2, "history": history},
                {"name": "copy", "epochs": 0, "history": {}},
            ],
            "metrics": {"validation_accuracy": 50.0 + number},
        }
        for number, name in enumerate(names, 1)
    ]
    settings = {
        "id": "0" * 32,
        "method": "condconv",
        "benchmark": "b<1>",
        "config": {"seed": 7, "decay_epochs": [10, 16], "mark": "<'&"},
    }
    return types.SimpleNamespace(
        path=path, records=records, settings=settings, config=settings["config"]
    )


def fake_evaluation(path, names=NAMES):
    """Return metrics of a run, each value another one."""
    several = len(names) > 1
    matrix = [
        [
            61.0 + 10 * n + row / 4 if n <= row else None
            for n in range(len(names))
        ]
        for row in range(len(names))
    ]
    free = [[value and value / 2 for value in row] for row in matrix]
    return {
        "run": str(path),
        "method": "condconv",
        "benchmark": "b<1>",
        "backend": "jax",
        "tasks": names,
        "task_incremental": {
            "matrix": matrix,
            "accuracies": matrix[-1] if names else [],
            "average_accuracy": 71.123 if names else None,
            "standard_error": 0.345 if names else None,
            "forgetting": 1.234 if several else None,
            "backward_transfer": -2.345 if several else None,
            "forward_transfer": 3.456 if several else None,
        },
        "task_free": {
            "max<logit>": {
                "matrix": free,
                "accuracies": free[-1],
                "average_accuracy": 35.678,
                "forgetting": 4.567 if several else None,
                "backward_transfer": -5.678 if several else None,
                "task_identification": 45.678,
            }
        }
        if names
        else {},
    }


@pytest.fixture
def report(tmp_path):
    """A complete report: the folder and the evaluation."""
    evaluation = fake_evaluation(tmp_path)
    path = write_report(
        fake_run(tmp_path), evaluation, PUBLISHED, ROUTING, MISTAKES
    )
    assert path == tmp_path / "report" / "report.html"
    return path.parent, evaluation


class Page(HTMLParser):
    """Collects the texts and the tags of a page, and checks the nesting."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.tags, self.texts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))
        if self.open[-1:] == ["td"]:
            self.cells.append(data)


def rows(path):
    """Return the rows of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_writes_all_files(report):
    folder, _ = report
    assert {path.name for path in folder.iterdir()} == FILES | PLOTS


def test_page_loads_nothing(report):
    folder, _ = report
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "http" not in text
    assert "@import" not in text
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href"):
            link = attributes.get(name, "#")
            assert link.startswith(("#", "data:image/png;base64,"))
    assert all(found[0] == "#" for found in re.findall(r"url\((.)", text))
    identifiers = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(identifiers) == len(set(identifiers))


def test_page_has_every_name_and_value(report):
    folder, evaluation = report
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for name in NAMES:
        assert name in page.cells
        assert any(found.startswith(f"{name} ") for found in page.texts)
    labelled = evaluation["task_incremental"]
    free = evaluation["task_free"]["max<logit>"]
    for result in (labelled, free):
        for key, value in result.items():
            values = value if key == "accuracies" else [value]
            if key != "matrix":
                assert {f"{value:.2f}" for value in values} <= {*page.cells}
    for value in ("65.50", "81.25", "+0.25", "73.38", "53.00", "114,003"):
        assert value in page.cells
    assert "task-free: max<logit>" in page.cells
    assert "conv<1>" in page.texts
    assert "<chips>" not in text
    assert "<1>" not in text


def test_mistakes_are_shown_with_what_they_are_and_listed(report):
    folder, _ = report
    svg = (folder / "mistakes.svg").read_text(encoding="utf-8")
    assert svg.count("data:image/png;base64,") == 7
    for text in ("88% a&lt;1&gt;", "is b", "6.jpg"):
        assert text in svg
    header, *lines = rows(folder / "mistakes.csv")
    assert header == ["task", "picture", "said", "probability", "truth"]
    assert lines[6] == ["_b|c_", "DIR/test/<b>/6.jpg", "a<1>", "0.8750", "b"]
    assert len(lines) == 7


def test_page_says_how_to_reproduce(report):
    folder, _ = report
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    command = next(text for text in page.texts if "cckeras.train" in text)
    for part in (
        "'--benchmark=b<1>'",
        "--method=condconv",
        "--threads=1",
        "'--tasks=fish & <chips>,_b|c_,insects'",
        "'--config.decay_epochs=[10, 16]'",
        "--config.seed=7",
    ):
        assert part in command
    for cell in ("1 to 2", "3", "3.15.1", "Xeon <fast> & hot", "all"):
        assert cell in page.cells


@pytest.mark.parametrize("method", ["condconv", "finetune", "scratch"])
def test_command_resolves_to_the_same_recipe(tmp_path, method):
    config = load_recipe("digits5", method, {"seed": "7", "l2": "1e-3"})
    run = fake_run(tmp_path)
    run.settings |= {"method": method, "config": config}
    command = training_command(run, [])
    words = shlex.split(command.text.replace("\\\n", ""))
    changes = {
        word.removeprefix("--config.").partition("=")[0]: word.partition("=")[2]
        for word in words
        if word.startswith("--config.")
    }
    assert load_recipe("digits5", method, changes) == config


def test_markdown_has_the_same_tables(report):
    folder, _ = report
    text = (folder / "report.md").read_text(encoding="utf-8")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    cells = [
        cell.strip()
        for line in text.splitlines()
        if line.startswith("| ") and ":--" not in line
        for cell in re.split(r"(?<!\\)\|", line)[1:-1]
    ]
    for cell in page.cells:
        escaped = (
            cell.replace("&", "&amp;").replace("<", "&lt;")
            .replace(">", "&gt;").replace("_b|c_", r"\_b\|c\_")
        )  # fmt: skip
        assert escaped in cells
    for file in re.findall(r"!\[.*?\]\((.*?)\)", text):
        svg = (folder / file).read_text(encoding="utf-8")
        assert svg.startswith('<svg style="background: #ffffff')
    assert set(re.findall(r"\((.*?\.svg)\)", text)) == PLOTS


def test_csv_and_json_hold_the_input(report):
    folder, evaluation = report
    labelled = evaluation["task_incremental"]
    header, *matrix = rows(folder / "accuracy_matrix.csv")
    assert header == ["after_task", *NAMES]
    assert [row[0] for row in matrix] == NAMES
    assert [
        [float(value) if value else None for value in row[1:]] for row in matrix
    ] == labelled["matrix"]
    with open(folder / "tasks.csv", encoding="utf-8", newline="") as file:
        tasks = list(csv.DictReader(file))
    assert [row["task"] for row in tasks] == NAMES
    assert [float(row["accuracy"]) for row in tasks] == labelled["accuracies"]
    assert [row["published"] for row in tasks] == ["65.5", "", "81.25"]
    assert [float(row["accuracy_when_learned"]) for row in tasks] == [
        labelled["matrix"][n][n] for n in range(3)
    ]
    assert tasks[2] | {"accuracy": "", "accuracy_when_learned": ""} == {
        "number": "3",
        "task": "insects",
        "classes": "2",
        "accuracy": "",
        "accuracy_when_learned": "",
        "published": "81.25",
        "validation_accuracy": "53.0",
        "epochs": "2",
        "parameters": "114003",
        "multiply_adds": "14000003",
        "task_free_max<logit>": "40.75",
    }
    stored = json.loads((folder / "report.json").read_bytes())
    assert stored == evaluation


def test_is_the_same_when_written_again(report, tmp_path):
    folder, evaluation = report
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_report(fake_run(tmp_path), evaluation, PUBLISHED, ROUTING, MISTAKES)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == before


def test_without_published_row_and_routing(tmp_path):
    path = write_report(fake_run(tmp_path), fake_evaluation(tmp_path))
    assert not (path.parent / "routing_weights.svg").exists()
    page = Page(path.read_text(encoding="utf-8"))
    assert "Routing weights" not in page.texts
    assert "published" not in page.texts


def test_one_task(tmp_path):
    names = NAMES[:1]
    path = write_report(
        fake_run(tmp_path, names), fake_evaluation(tmp_path, names), PUBLISHED
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert page.cells.count("–") == 13
    assert "61.00" in page.cells


def test_task_without_test_images(tmp_path):
    evaluation = fake_evaluation(tmp_path, NAMES[1:])
    evaluation["changed_data"] = ["insects"]
    path = write_report(fake_run(tmp_path), evaluation, PUBLISHED)
    first, *_ = rows(path.parent / "tasks.csv")[1:]
    assert first[:5] == ["1", NAMES[0], "2", "", ""]
    page = Page(path.read_text(encoding="utf-8"))
    assert any("changed since training: insects" in t for t in page.texts)
    assert "insects 3" in page.texts


@pytest.mark.parametrize("names", [[], NAMES])
def test_no_test_images_at_all(tmp_path, names):
    evaluation = fake_evaluation(tmp_path, [])
    evaluation["tasks"] = names
    count = len(names)
    evaluation["task_incremental"] |= {
        "matrix": [[None] * count for _ in names],
        "accuracies": [None] * count,
    }
    path = write_report(fake_run(tmp_path), evaluation, PUBLISHED)
    assert not (path.parent / "accuracy_matrix.svg").exists()
    assert (path.parent / "learning_curves.svg").exists()


@pytest.mark.parametrize("blocked", ["report", "report/report.html"])
def test_blocked_folder_is_an_input_error(tmp_path, blocked):
    path = tmp_path / blocked
    if blocked == "report":
        path.write_bytes(b"")
    else:
        path.mkdir(parents=True)
    with pytest.raises(InputError) as raised:
        write_report(fake_run(tmp_path), fake_evaluation(tmp_path))
    text = str(raised.value)
    assert text.startswith(f"Expected {tmp_path / 'report'} to be a folder")
    assert "Received: " in text
    assert "\n" not in text
