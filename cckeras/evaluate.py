"""Measure a run: accuracy matrix, forgetting, with and without task labels.

    python -m cckeras.evaluate RUN
    python -m cckeras.evaluate RUN --data_dir=DATA --json=result.json

Prints the metrics of both settings side by side and writes RUN/report/
(report.html, report.md, CSV, JSON).
"""

from __future__ import annotations

from cckeras.commands import (
    Flags,
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError

SUMMARY = (
    ("average accuracy (%)", "average_accuracy"),
    ("the same, mean over finetuning's sources (%)", "mean_over_sources"),
    ("forgetting (points)", "forgetting"),
    ("backward transfer (points)", "backward_transfer"),
    ("forward transfer (points)", "forward_transfer"),
    ("task identified (%)", "task_identification"),
)


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = Flags("cckeras.evaluate", __doc__, ("RUN",))
    options.add_text("data_dir", None, "folder with the data, as in training")
    options.add_switch("task_labels_only", "leave out task-free evaluation")
    options.add_switch("no_report", "print alone; write no report")
    options.add_threads()
    (folder,) = options.parse(arguments)
    check_writable(options.json)
    from cckeras.runs.records import RunRecords

    if not RunRecords.open(folder).records:
        raise InputError(
            f"Expected a run with learned tasks. Received: {folder}, which has "
            "none yet. Train it first."
        )
    start_backend(options.threads)
    from rich.console import Console

    from cckeras.benchmarks import benchmark
    from cckeras.evaluation.evaluation import evaluate_run
    from cckeras.evaluation.report import write_report
    from cckeras.evaluation.routing import routing_statistics
    from cckeras.runs.run import Run

    run = Run.open(folder)
    tasks = benchmark(run.settings["benchmark"])(run.config, options.data_dir)
    with Console(stderr=True).status("loading") as status:

        def progress(text):
            status.update(f"evaluating {text}")

        method = run.load()
        result = evaluate_run(
            run,
            method,
            tasks,
            task_free=not options.task_labels_only,
            progress=progress,
        )
        if not result["tasks"]:
            raise InputError(
                f"Expected test images for a task of {folder}. Received: none "
                "in --data_dir. Give the folder used in training."
            )
        write_json(options.json, "evaluate", result)
        print_result(result, tasks.published.get(run.settings["method"]))
        if not options.no_report:
            routing = routing_statistics(method, tasks, progress)
            path = write_report(
                run,
                result,
                tasks.published.get(run.settings["method"]),
                routing,
            )
            print(f"report: {path}")


def print_result(result: dict, published: dict | None) -> None:
    """Print the tables of an evaluation."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(100, Console().width))
    settings = {
        "task given": result["task_incremental"],
        **{f"task free, {n}": v for n, v in result["task_free"].items()},
    }
    for name in result["changed_data"]:
        print(f"note: the data of task {name!r} differ from those in training")
    tasks = Table(title="accuracy by task (%), after the last task")
    tasks.add_column("task")
    for column in settings:
        tasks.add_column(column, justify="right")
    if published:
        tasks.add_column("published", justify="right")
    for index, name in enumerate(result["tasks"]):
        row = [f"{s['accuracies'][index]:.1f}" for s in settings.values()]
        if published:
            row.append(f"{published[name]:.1f}" if name in published else "-")
        tasks.add_row(name, *row)
    console.print(tasks)
    summary = Table(title="summary")
    summary.add_column("")
    for column in settings:
        summary.add_column(column, justify="right")
    for label, key in SUMMARY:
        values = [setting.get(key) for setting in settings.values()]
        if not any(value is not None for value in values):
            continue
        summary.add_row(
            label, *("-" if v is None else f"{v:.2f}" for v in values)
        )
    console.print(summary)


if __name__ == "__main__":
    run_command(main)
