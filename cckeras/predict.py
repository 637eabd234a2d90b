"""Use a run: pictures in, classes out, with a task or with none.

    python -m cckeras.predict RUN PICTURE... --task=flowers
    python -m cckeras.predict RUN FOLDER --format=json
    ls *.jpg | python -m cckeras.predict RUN -

A folder stands for all pictures in it, `-` for paths on standard input, one a
line. Without --task, --rule finds the task, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cckeras.commands import (
    Flags,
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError, choose
from cckeras.names import RULES


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = Flags("cckeras.predict", __doc__, ("RUN", "PICTURE..."))
    options.add_text("task", None, "the task that the pictures belong to")
    options.add_text(
        "rule", "max_probability", f"without --task: {', '.join(RULES)}"
    )
    options.add_text("format", "table", "what to print: table or json")
    options.add_number("top", 1, "how many classes to name for a picture", 1)
    options.add_threads()
    folder, *given = options.parse(arguments)
    choose("--format", options.format, ("table", "json"))
    choose("--rule", options.rule, RULES)
    check_writable(options.json)
    from cckeras.runs.records import RunRecords

    records = RunRecords.open(folder)
    if not records.records:
        raise InputError(
            f"Expected a run with learned tasks. Received: {folder}, which has "
            "none yet. Train it first."
        )
    if options.task is not None:
        records.record(options.task)
    paths = picture_paths(given)
    start_backend(options.threads)
    result = {
        "run": str(folder),
        "task": options.task,
        "rule": None if options.task else options.rule,
        "pictures": predict(
            folder, paths, options.task, options.rule, options.top
        ),
    }
    write_json(options.json, "predict", result)
    if options.format == "json":
        print(json.dumps(result, indent=2))
    else:
        print_table(result)


def predict(folder, paths, task, rule_name, top) -> list[dict]:
    """Return `{path, task, class, probability, top}` of each picture.

    Args:
        folder: the run's.
        paths: of the pictures.
        task: name of the task, or None to find it by the rule.
        rule_name: a rule of `cckeras.evaluation.task_free`.
        top: how many classes to name.
    """
    import numpy as np

    from cckeras.data.pictures import PictureImages
    from cckeras.evaluation.answers import answer, answering_model
    from cckeras.evaluation.task_free import (
        probabilities,
        rule,
        task_of_class,
    )
    from cckeras.runs.run import Run

    run = Run.open(folder)
    names = [task] if task else [record["name"] for record in run.records]
    needed = [u for name in names for u in run.record(name)["uses"]]
    method = run.load(tuple(dict.fromkeys(needed)))
    pictures = PictureImages(paths, run.config["image_size"])
    places = np.arange(len(paths))
    batches = [
        pictures.read(places[start : start + 100]).astype(np.float32)
        for start in range(0, len(paths), 100)
    ]
    answers = [
        answer(answering_model(method.task_model(name)), batches)
        for name in names
    ]
    counts = [own.logits.shape[1] for own in answers]
    starts = np.cumsum([0, *counts])
    if task:
        found = answers[0].logits.argmax(1)
    else:
        found = rule(rule_name)(answers, run.config["seed"])
    results = []
    for index, path in enumerate(paths):
        number = int(task_of_class(counts, found[index : index + 1])[0])
        own = probabilities(answers[number].logits[index : index + 1])[0]
        classes = run.record(names[number])["classes"]
        label = int(found[index] - starts[number])
        ranked = np.argsort(-own, kind="stable")[:top]
        results.append(
            {
                "path": str(path),
                "task": names[number],
                "class": classes[label],
                "probability": round(float(own[label]), 6),
                "top": [
                    {
                        "class": classes[place],
                        "probability": round(float(own[place]), 6),
                    }
                    for place in ranked
                ],
            }
        )
    return results


def picture_paths(given: list[str]) -> list[Path]:
    """Return the pictures named by paths, folders and standard input.

    Raises:
        InputError: for a path that does not exist, and if there is none.
    """
    from cckeras.data.pictures import is_picture

    if "-" in given:
        lines = [line.strip() for line in sys.stdin]
        place = given.index("-")
        given = [*given[:place], *filter(None, lines), *given[place + 1 :]]
    paths = []
    for text in given:
        path = Path(text)
        if path.is_dir():
            paths += sorted(p for p in path.rglob("*") if is_picture(p))
        elif path.is_file():
            paths.append(path)
        else:
            raise InputError(
                f"Expected a picture or a folder. Received: {text!r}, which "
                "does not exist. Check the path."
            )
    if not paths:
        raise InputError(
            "Expected at least one picture. Received: none. Give files, a "
            "folder with pictures, or paths on standard input with '-'."
        )
    return paths


def print_table(result: dict) -> None:
    """Print a row for each picture."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("picture", "task", "class", "probability"):
        table.add_column(column, overflow="fold")
    for row in result["pictures"]:
        for place, best in enumerate(row["top"]):
            table.add_row(
                row["path"] if place == 0 else "",
                row["task"] if place == 0 else "",
                best["class"],
                f"{best['probability']:.3f}",
            )
    Console(width=max(80, Console().width)).print(table)


if __name__ == "__main__":
    run_command(main)
