"""Measure a run: accuracy matrix, forgetting, with and without task labels.

    python -m cckeras.evaluate RUN
    python -m cckeras.evaluate RUN --data_dir=DATA --json=result.json
    python -m cckeras.evaluate RUN --reference=FINETUNED

Prints the metrics of both settings side by side and writes RUN/report/
(report.html, report.md, CSV, JSON), with the pictures of the most confident
mistakes. --reference adds the Total Gain over another run of the benchmark.
"""

from __future__ import annotations

import os

from cckeras.commands import (
    changed_data,
    check_writable,
    open_learned,
    open_with_data,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError
from cckeras.flags import Flags

SUMMARY = {
    "average\naccuracy": "average_accuracy",
    "forgetting": "forgetting",
    "backward\ntransfer": "backward_transfer",
    "forward\ntransfer": "forward_transfer",
    "task\nfound": "task_identification",
}


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = Flags("cckeras.evaluate", __doc__, ("RUN",))
    options.add_text("data_dir", None, "folder with the data, as in training")
    options.add_text("reference", None, "another run: print the gain over it")
    options.add_switch("task_labels_only", "leave out task-free evaluation")
    options.add_switch("no_report", "print alone; write no report")
    options.add_threads()
    (folder,) = options.parse(arguments)
    check_writable(options.json)
    path = open_learned(folder).path
    reference = options.reference and open_learned(options.reference)
    if not options.no_report and not os.access(path, os.W_OK):
        raise InputError(
            f"Expected to write a report into {path}. Received: a folder that "
            "is read-only. Give --no_report, or change its permissions."
        )
    start_backend(options.threads)
    from cckeras.console import telling
    from cckeras.evaluation.evaluation import evaluate_run
    from cckeras.evaluation.gain import gain_over
    from cckeras.evaluation.mistakes import confident_mistakes
    from cckeras.evaluation.report import write_report
    from cckeras.evaluation.routing import routing_statistics

    run, tasks = open_with_data(folder, options.data_dir)
    published = tasks.published.get(run.settings["method"])
    with telling() as tell:
        tell("loading the run")
        method = run.load()
        result = evaluate_run(
            run,
            method,
            tasks,
            task_free=not options.task_labels_only,
            progress=tell,
        )
        if not result["tasks"]:
            raise InputError(
                f"Expected test images for a task of {folder}. Received: none "
                "in --data_dir. Give the folder used in training."
            )
        if reference:
            result["total_gain"] = gain_over(result, run, reference)
        routing, mistakes = {}, {}
        if not options.no_report:
            routing = routing_statistics(method, tasks, tell)
            mistakes = confident_mistakes(method, tasks, tell)
    write_json(options.json, "evaluate", result)
    left_out = [t.name for t in run.tasks if t.name not in result["tasks"]]
    if left_out:
        print(f"note: no test images, left out: {', '.join(left_out)}")
    print_result(result, published)
    if not options.no_report:
        report = write_report(run, result, published, routing, mistakes)
        print(f"report: {report}")


def print_result(result: dict, published: dict | None) -> None:
    """Print the tables of an evaluation."""
    from rich.table import Table

    from cckeras.console import print_table
    from cckeras.evaluation.task_free import DEFAULT_RULE, WITHOUT_STATISTICS

    given, rules = result["task_incremental"], result["task_free"]
    if result["changed_data"]:
        print(changed_data(result["changed_data"]))
    columns = {"task given": given["accuracies"]}
    for name in (DEFAULT_RULE, WITHOUT_STATISTICS):
        if name in rules and len(columns) == 1:
            columns[f"task free,\n{name}"] = rules[name]["accuracies"]
    if published:
        columns["published"] = [published.get(n) for n in result["tasks"]]
    tasks = Table(title="accuracy by task (%), after the last task")
    tasks.add_column("task", overflow="fold")
    for column in columns:
        tasks.add_column(column, justify="right", no_wrap=True)
    for name, *row in zip(result["tasks"], *columns.values(), strict=True):
        tasks.add_row(name, *(_decimal(value, 1) for value in row))
    print_table(tasks)
    summary = Table(title="accuracies (%), the rest in points")
    summary.add_column("")
    for column in SUMMARY:
        summary.add_column(column, justify="right", no_wrap=True)
    for name, row in {"task given": given, **rules}.items():
        values = [row.get(key) for key in SUMMARY.values()]
        summary.add_row(name, *(_decimal(value, 2) for value in values))
    print_table(summary)
    if given["mean_over_sources"] is not None:
        print(
            "average accuracy, mean over finetuning's sources: "
            f"{given['mean_over_sources']:.2f} %"
        )
    if "total_gain" in result:
        gain = result["total_gain"]
        print(
            f"Total Gain over {gain['reference']} ({gain['method']}), "
            f"{len(gain['accuracies'])} tasks after the first: "
            f"{gain['points']:+.2f} points"
        )


def _decimal(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    run_command(main)
