"""The report of a run, in RUN/report/: HTML, Markdown, CSV, JSON and plots."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from cckeras.errors import InputError
from cckeras.evaluation import plots
from cckeras.evaluation.document import (
    Plot,
    html_document,
    markdown_document,
)
from cckeras.evaluation.picture_rows import picture_rows
from cckeras.evaluation.tables import (
    LABELLED,
    environments_table,
    metrics_table,
    task_free_table,
    task_rows,
    tasks_table,
    training_command,
)
from cckeras.runs import files
from cckeras.runs.records import RunRecords

REPORT = "report"


def write_report(
    run: RunRecords,
    evaluation: dict,
    published: dict[str, float] | None = None,
    routing: dict[str, dict] | None = None,
    mistakes: dict[str, list] | None = None,
) -> Path:
    """Write the report of a run with at least one task; return the HTML's path.

    Args:
        run: the opened run.
        evaluation: what `evaluate_run` returned.
        published: `{task: accuracy in percent}` of the run's method.
        routing: what `routing_statistics` returned, `{task: {layer:
            {"experts": [n names], "mean": [n], "std": [n]}}}`.
        mistakes: what `confident_mistakes` returned, `{task: [Mistake]}`.

    Raises:
        InputError: if the folder cannot be written.
    """
    published = published or {}
    rows = task_rows(run, evaluation, published)
    parts = [
        metrics_table(evaluation, published),
        tasks_table(rows),
        task_free_table(rows),
        *_plots(run, evaluation, rows, published, routing or {}),
        _mistakes(mistakes),
        training_command(run, evaluation["tasks"]),
        environments_table(run),
    ]
    parts = [part for part in parts if part is not None]
    title = f"{run.settings['method']} on {run.settings['benchmark']}"
    lead = _lead(run, evaluation)
    contents = {
        part.file: part.to_file() for part in parts if isinstance(part, Plot)
    }
    contents["tasks.csv"] = _csv(rows[0], (row.values() for row in rows))
    contents["accuracy_matrix.csv"] = _csv(
        ["after_task", *evaluation["tasks"]],
        _matrix_rows(evaluation),
    )
    if mistakes:
        contents["mistakes.csv"] = _csv(
            ["task", "picture", "said", "probability", "truth"],
            _mistake_rows(mistakes),
        )
    contents["report.md"] = markdown_document(title, lead, parts)
    contents["report.html"] = html_document(title, lead, parts)
    folder = run.path / REPORT
    try:
        folder.mkdir(exist_ok=True)
        for name, text in contents.items():
            files.replace_file(folder / name, text.encode())
        files.replace_file(folder / "report.json", files.dump_json(evaluation))
    except OSError as error:
        raise InputError(
            f"Expected {folder} to be a folder that can be written. Received: "
            f"{error.strerror}. Make room, or remove what is in its place."
        ) from error
    return folder / "report.html"


def _lead(run, evaluation):
    parameters = sum(record["parameters"] for record in run.records)
    tasks = len(run.records)
    texts = [
        f"{tasks} task{'s' if tasks > 1 else ''}",
        f"{parameters:,} parameters",
        f"evaluated with {evaluation['backend']}",
        evaluation["run"],
    ]
    if "total_gain" in evaluation:
        gain = evaluation["total_gain"]
        texts.append(
            f"Total Gain {gain['points']:+.2f} points over {gain['reference']} "
            f"({gain['method']})"
        )
    if evaluation.get("changed_data"):
        changed = ", ".join(evaluation["changed_data"])
        texts.append(f"data that has changed since training: {changed}")
    return " · ".join(texts)


def _plots(run, evaluation, rows, published, routing):
    """Yield the plots that there are values for."""
    tasks = {record["name"]: record["number"] for record in run.records}
    reached = [row["accuracy"] for row in rows]
    if any(value is not None for value in reached):
        yield Plot(
            "Accuracy per task",
            "accuracies.svg",
            plots.accuracies(tasks, reached, published),
            "On test images, task-incremental.",
        )
        matrices = {LABELLED: evaluation["task_incremental"]["matrix"]}
        for rule, result in evaluation["task_free"].items():
            matrices[f"task-free: {rule}"] = result["matrix"]
        yield Plot(
            "Accuracy matrix",
            "accuracy_matrix.svg",
            plots.accuracy_matrices(
                {name: tasks[name] for name in evaluation["tasks"]}, matrices
            ),
            "Accuracy on each task so far (columns) after learning a task "
            "(rows).",
        )
    yield Plot(
        "Learning curves",
        "learning_curves.svg",
        plots.learning_curves(run.records),
        "A task's phases follow each other, parted by vertical lines.",
    )
    deviations = [
        deviation
        for layers in routing.values()
        for weights in layers.values()
        for deviation in weights["std"]
    ]
    if deviations:
        yield Plot(
            "Routing weights",
            "routing_weights.svg",
            plots.routing_weights(tasks, routing),
            "Means over images of the task; the largest standard deviation is "
            f"{max(deviations):.3f}.",
        )
    yield Plot(
        "Size",
        "size.svg",
        plots.size(run.records),
        "Relative to the first task.",
    )


def _mistakes(mistakes):
    """Return the pictures of mistakes, None without one."""
    if not mistakes:
        return None
    rows = {
        task: [
            (
                one.picture,
                [
                    f"{one.probability:.0%} {one.said}",
                    f"is {one.truth}",
                    Path(one.name).name,
                ],
            )
            for one in found
        ]
        for task, found in mistakes.items()
    }
    return Plot(
        "Most confident mistakes",
        "mistakes.svg",
        picture_rows(rows, "mistakes"),
        "Test pictures of each task that its network is surest of, and wrong: "
        "what it says, what the picture is, its file. mistakes.csv has the "
        "paths; a wrong label is found here first.",
    )


def _mistake_rows(mistakes):
    for task, found in mistakes.items():
        for one in found:
            share = f"{one.probability:.4f}"
            yield [task, one.name, one.said, share, one.truth]


def _matrix_rows(evaluation):
    matrix = evaluation["task_incremental"]["matrix"]
    for task, row in zip(evaluation["tasks"], matrix, strict=True):
        yield [task, *row]


def _csv(header, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
