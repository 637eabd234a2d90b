#!/usr/bin/env python3
"""Export the tasks of a run as one `.tflite` file for phones and browsers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cckeras.commands import (
    changed_data,
    check_writable,
    open_learned,
    open_with_data,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError, choose
from cckeras.flags import Flags
from cckeras.names import EXPORT_ROUTINGS, QUANTIZATIONS

HELP = """
Export the tasks of a run as one .tflite file, checked against Keras.

A task with image routing is exported as it is ('exact': the signature
'classify' takes the image and the task's index) or with its routing replaced
by the mean over its training images ('folded': a plain network, with a
signature of its own), or by that and the --rank principal directions in which
it varies ('low_rank'). 'auto' takes for each task the cheapest that loses at
most --max_accuracy_drop points of validation accuracy on average. The file
describes itself: names, classes and signatures are in its metadata.json, which
unzip reads.

--quantize makes it smaller: 'float16' halves it, 'int8_weights' and 'int8'
quarter it ('int8' is the fastest, and needs training images). What that costs
in accuracy is printed beside Keras' accuracy.

--identify adds the signature 'identify', for images whose task is not known: the
gate of the rule 'agreed' names the two likeliest tasks, and their networks
(folded, stored once more) give task, class and probability.

--split writes a file for each task, named after it: each.fish.tflite for
--output=each.tflite.

--target=mediapipe writes one task so that MediaPipe's ImageClassifier and ML Kit
open it: one input, one output, labels and normalisation in TFLite metadata.

Example:
  python tools/export_tflite.py runs/digits5 --output=digits5.tflite
  python tools/export_tflite.py RUN --output=two.tflite --tasks=fish,flowers
  python tools/export_tflite.py RUN --output=all.tflite --identify
  python tools/export_tflite.py RUN --output=each.tflite --split
  python tools/export_tflite.py RUN --output=fish.tflite --tasks=fish \\
      --target=mediapipe
"""
TARGETS = ("litert", "mediapipe")
NOTHING = "-"
# Two narrow tables, for terminals of 80 columns.
FORM_COLUMNS = ("task", "form", "signature", "cost,\nexact", "cost,\nthis form")
ACCURACY_COLUMNS = (
    "task",
    "validation,\nexact",
    "validation,\nthis form",
    "test,\nKeras",
    "test,\nfile",
    "largest\ndifference",
)
# More layers than this are not named one by one.
MANY = 6


def main(arguments: list[str]) -> None:
    """Run the tool."""
    options = Flags("export_tflite.py", HELP, ("RUN",))
    options.add_text("output", None, "the .tflite file to write")
    options.add_text("routing", "auto", f"one of {', '.join(EXPORT_ROUTINGS)}")
    options.add_text("target", "litert", f"one of {', '.join(TARGETS)}")
    options.add_text("quantize", "none", f"one of {', '.join(QUANTIZATIONS)}")
    options.add_text(
        "tasks",
        None,
        "names of tasks, with commas; all that were learned from pictures if absent",
    )
    options.add_text("data_dir", None, "folder with the data, as in training")
    options.add_decimal(
        "max_accuracy_drop", 0.2, "points it may cost, on average", 0, 100
    )
    options.add_number(
        "rank", None, "directions a layer of --routing=low_rank; 1 if absent", 1
    )
    options.add_switch("identify", "find the task of an image, too")
    options.add_switch("split", "write a file for each task")
    options.add_threads()
    (folder,) = options.parse(arguments)
    choose("--routing", options.routing, EXPORT_ROUTINGS)
    choose("--target", options.target, TARGETS)
    choose("--quantize", options.quantize, QUANTIZATIONS)
    output = check_output(options.output)
    check_writable(options.json)
    records = open_learned(folder)
    # Weights that came without pictures are there to start from.
    learned = [r for r in records.records if r["data"] is not None]
    tasks = [record["name"] for record in learned or records.records]
    if options.tasks is not None:
        tasks = chosen_tasks(options.tasks, records)
    if options.target == "mediapipe" and len(tasks) != 1 and not options.split:
        raise InputError(
            "Expected one task for --target=mediapipe. Received: "
            f"{len(tasks)} tasks. Name one with --tasks=NAME, or give --split."
        )
    if options.identify:
        check_identify(options, tasks)
    check_routing(options)
    for package in ("tensorflow", "ai_edge_litert"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"Expected the package {package} for exporting. Received: an "
                "environment without it. Run pip install 'cckeras[export]'."
            )
    start_backend(options.threads, only="tensorflow")
    from cckeras.console import telling
    from cckeras.export.export import export_run
    from cckeras.export.options import Options

    run, data = open_with_data(folder, options.data_dir)
    how = Options(
        options.routing,
        options.max_accuracy_drop,
        options.quantize,
        options.target,
        options.rank or 1,
        options.identify,
    )
    outputs = {output: tasks}
    if options.split:
        outputs = {
            output.with_name(f"{output.stem}.{task}.tflite"): [task]
            for task in tasks
        }
    results = []
    with telling() as tell:
        for file, chosen in outputs.items():
            results.append(export_run(run, data, file, chosen, how, tell))
    result = {"files": results} if options.split else results[0]
    schema = "tflite_files" if options.split else "tflite"
    write_json(options.json, schema, result)
    for file, result in zip(outputs, results, strict=True):
        print_result(result, file)
    changed = [
        name
        for name in tasks
        if name in data.tasks
        and data.load(name).fingerprint() != run.record(name)["data"]
    ]
    if changed:
        print(changed_data(changed))


def check_output(text: str | None) -> Path:
    """Return the file to write.

    Raises:
        InputError: if it is missing or cannot be written.
    """
    if not text or not text.endswith(".tflite"):
        raise InputError(
            "Expected --output=FILE.tflite. Received: "
            f"{text or 'no such flag'}. Name the file to write."
        )
    check_writable(text, "output")
    return Path(text).resolve()


def chosen_tasks(text: str, records) -> list[str]:
    """Return the named tasks, in the run's order.

    Raises:
        InputError: if one is unknown or named twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        records.record(name)
        if names.count(name) > 1:
            raise InputError(
                f"Expected --tasks to name a task once. Received: {name!r} "
                "twice. Leave one out."
            )
    return [r["name"] for r in records.records if r["name"] in names]


def check_routing(options) -> None:
    """Check that a flag about routing is not one that would be ignored.

    Raises:
        InputError: if it is.
    """
    if options.rank is not None and options.routing != "low_rank":
        raise InputError(
            "Expected --rank with --routing=low_rank. Received: "
            f"--routing={options.routing}. Change that, or leave --rank out."
        )
    if options.target == "mediapipe" and options.routing in (
        "exact",
        "low_rank",
    ):
        raise InputError(
            "Expected --routing=auto or folded for --target=mediapipe, which "
            f"takes plain networks. Received: --routing={options.routing}. "
            "Leave it out."
        )


def check_identify(options, tasks: list[str]) -> None:
    """Check that a file can have a signature that finds the task.

    Raises:
        InputError: if it cannot.
    """
    problems = (
        (len(tasks) < 2, "two tasks or more", ", ".join(tasks)),
        (options.split, "one file for all tasks", "--split"),
        (options.target != "litert", "--target=litert", options.target),
        (options.quantize == "int8", "floating point", "--quantize=int8"),
    )
    for wrong, expected, received in problems:
        if wrong:
            raise InputError(
                f"Expected {expected} for --identify. Received: {received}. "
                "Change that, or leave --identify out."
            )


def print_result(result: dict, output: Path) -> None:
    """Print a row for each task."""
    from cckeras.console import print_table

    rows = []
    for task in result["tasks"]:
        parity = task["parity"]
        measured = task["validation_accuracy"]
        index = "" if task["index"] is None else f", task={task['index']}"
        rows.append(
            {
                "task": task["name"],
                "form": form_of(task),
                "signature": task["signature"] + index,
                "validation,\nexact": _percent(measured.get("exact")),
                "validation,\nthis form": _percent(measured.get(task["form"])),
                "cost,\nexact": _multiple(task["cost"].get("exact")),
                "cost,\nthis form": _multiple(task["cost"].get(task["form"])),
                "test,\nKeras": _percent(parity["keras_accuracy"]),
                "test,\nfile": _percent(parity["accuracy"]),
                "largest\ndifference": f"{parity['difference']:.1g}"
                if parity["images"]
                else NOTHING,
            }
        )
    print_table(_table(str(output), rows, FORM_COLUMNS))
    print_table(_table("accuracy", rows, ACCURACY_COLUMNS))
    if found := result["identify"]:
        print(
            f"identify: class {_percent(found['accuracy'])}, task "
            f"{_percent(found['task_accuracy'])} of {found['images']} test "
            f"images; {found['rule']} over every task's Keras network: class "
            f"{_percent(found['rule_accuracy'])}"
        )
    outside = result["operators_outside_xnnpack"]
    left_out = ", ".join(f"{count} {op}" for op, count in outside.items())
    print(
        f"{result['model_bytes'] / 1e6:.2f} MB; needs TensorFlow Lite "
        f"{result['oldest_runtime']} or newer; outside XNNPACK: "
        f"{left_out or 'nothing'}"
    )


def _table(title, rows, columns):
    """Return a table of some columns: of those that have something to show,
    since of constant tasks no form was measured."""
    from rich.table import Table

    table = Table(title=title)
    shown = [
        column
        for column in columns
        if any(row[column] != NOTHING for row in rows)
    ]
    for column in shown:
        if column in ("task", "form", "signature"):
            table.add_column(column, overflow="fold", min_width=10)
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    return table


def form_of(task: dict) -> str:
    """Return a task's form, with the layers where an image decides."""
    ranks = [f"{layer}:{rank}" for layer, rank in task["ranks"].items()]
    if len(ranks) > MANY and len(set(task["ranks"].values())) == 1:
        ranks = [f"{len(ranks)} layers{ranks[0][ranks[0].rindex(':') :]}"]
    return " ".join([task["form"], *ranks])


def _multiple(value):
    return NOTHING if value is None else f"{value:.2f}"


def _percent(value):
    return NOTHING if value is None else f"{value:.1f} %"


if __name__ == "__main__":
    run_command(main)
