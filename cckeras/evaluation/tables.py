"""The tables of a report, and the command that repeats its run."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence

import cckeras
from cckeras.evaluation.document import Command, Table
from cckeras.runs.records import RunRecords

NOTHING = "–"
LABELLED = "task-incremental"
METRICS = (
    "average_accuracy",
    "standard_error",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "task_identification",
)


def task_rows(
    run: RunRecords, evaluation: dict, published: dict[str, float]
) -> list[dict]:
    """Return tasks.csv, `{column: value or None}` a task; percentages."""
    places = {task: n for n, task in enumerate(evaluation["tasks"])}
    labelled = evaluation["task_incremental"]
    diagonal = [row[n] for n, row in enumerate(labelled["matrix"])]
    rows = []
    for record in run.records:
        place = places.get(record["name"])
        rows.append(
            {
                "number": record["number"],
                "task": record["name"],
                "classes": len(record["classes"]),
                "accuracy": _at(place, labelled["accuracies"]),
                "accuracy_when_learned": _at(place, diagonal),
                "published": published.get(record["name"]),
                "validation_accuracy": record["metrics"].get(
                    "validation_accuracy"
                ),
                "epochs": sum(phase["epochs"] for phase in record["phases"]),
                "parameters": record["parameters"],
                "multiply_adds": record["multiply_adds"],
                **{
                    f"task_free_{rule}": _at(place, result["accuracies"])
                    for rule, result in evaluation["task_free"].items()
                },
            }
        )
    return rows


def metrics_table(evaluation: dict, published: dict[str, float]) -> Table:
    """Return the metrics with the task's label, and without by each rule."""
    settings = {LABELLED: evaluation["task_incremental"]}
    for rule, result in evaluation["task_free"].items():
        settings[f"task-free: {rule}"] = result
    rows = [
        [name, *(_number(result.get(metric)) for metric in METRICS)]
        for name, result in settings.items()
    ]
    common = [
        published[task] for task in evaluation["tasks"] if task in published
    ]
    if common:
        label = f"published, {len(common)} of these tasks"
        mean = _number(sum(common) / len(common))
        rows.insert(1, [label, mean, *[NOTHING] * (len(METRICS) - 1)])
    return Table(
        "Metrics",
        ["setting", *(metric.replace("_", " ") for metric in METRICS)],
        rows,
        "Task-incremental: the task's label is given; task-free: a rule finds "
        "the task. Accuracies in percent, after the last task; forgetting and "
        "transfer in points. The standard error is that of the finite test "
        "sets, not of other seeds.",
    )


def tasks_table(rows: list[dict]) -> Table:
    """Return the tasks beside the published row.

    Args:
        rows: from `task_rows`.
    """
    lines = []
    for row in rows:
        ours, theirs = row["accuracy"], row["published"]
        known = ours is not None and theirs is not None
        lines.append(
            {
                "": str(row["number"]),
                "task": row["task"],
                "classes": str(row["classes"]),
                "accuracy": _number(ours),
                "when learned": _number(row["accuracy_when_learned"]),
                "published": _number(theirs),
                "difference": f"{ours - theirs:+.2f}" if known else NOTHING,
                "validation": _number(row["validation_accuracy"]),
                "epochs": str(row["epochs"]),
                "parameters": f"{row['parameters']:,}",
                "multiply-adds (M)": _number(row["multiply_adds"] / 1e6),
            }
        )
    if all(row["published"] is None for row in rows):
        for line in lines:
            del line["published"], line["difference"]
    return Table(
        "Tasks",
        list(lines[0]),
        [list(line.values()) for line in lines],
        "Accuracy on test images in percent, task-incremental. Parameters are "
        "those that the task owns; multiply-adds, in millions, are those of one image.",
        texts=2,
    )


def task_free_table(rows: list[dict]) -> Table | None:
    """Return the accuracies without labels, a column a rule; None if none.

    Args:
        rows: from `task_rows`.
    """
    columns = [name for name in rows[0] if name.startswith("task_free_")]
    if not columns:
        return None
    return Table(
        "Tasks, task-free",
        ["", "task", *(name.removeprefix("task_free_") for name in columns)],
        [
            [str(row["number"]), row["task"]]
            + [_number(row[name]) for name in columns]
            for row in rows
        ],
        "Accuracy on test images in percent, a column a rule: the rule finds "
        "the image's task among all tasks of the run.",
        texts=2,
    )


def training_command(run: RunRecords, evaluated: Sequence[str]) -> Command:
    """Return the command that repeats the run, with the whole recipe.

    Defaults are spelled out: those of another release may differ.

    Args:
        run: the run.
        evaluated: names of the tasks of which there are test images.
    """
    flags = {
        "benchmark": run.settings["benchmark"],
        "method": run.settings["method"],
        "run_dir": "RUN",
        "threads": run.records[-1]["environment"]["threads"],
        # Without a first one that came as weights alone.
        "tasks": ",".join(
            own["name"]
            for own in run.records
            if own["phases"] or own["name"] in evaluated
        ),
    }
    for key, value in sorted(run.settings["config"].items()):
        flags[f"config.{key}"] = value
    words = [shlex.quote(f"--{name}={value}") for name, value in flags.items()]
    return Command(
        "How to reproduce",
        " \\\n    ".join(["python -m cckeras.train", *words]),
        "The whole recipe. Add --data_dir=FOLDER where the benchmark reads "
        "files.",
    )


def environments_table(run: RunRecords) -> Table:
    """Return the versions and processors that the tasks were trained with."""
    rows = []
    for environment, group in itertools.groupby(
        run.records, key=lambda record: record["environment"]
    ):
        numbers = [str(record["number"]) for record in group]
        rows.append(
            [
                " to ".join(dict.fromkeys((numbers[0], numbers[-1]))),
                f"{environment['backend']} {environment['backend_version']}",
                environment["keras"],
                str(environment["threads"] or "all"),
                environment["processor"],
            ]
        )
    return Table(
        "Trained with",
        ["tasks", "backend", "Keras", "threads", "processor"],
        rows,
        f"Run {run.settings['id']}; report by cckeras {cckeras.__version__}.",
        texts=5,
    )


def _at(place, values):
    return None if place is None else values[place]


def _number(value):
    return NOTHING if value is None else f"{value:.2f}"
