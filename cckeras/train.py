"""Learn the tasks of a benchmark one after another; forget nothing.

    python -m cckeras.train --benchmark=digits5 --run_dir=runs/digits5
    python -m cckeras.train --benchmark=cifar100_20 --data_dir=DATA \\
        --run_dir=runs/cifar --method=condconv --config.routing=task
    python -m cckeras.train --benchmark=image_folder --data_dir=PICTURES \\
        --run_dir=runs/mine

The same command goes on with a run that was interrupted, and adds tasks to a
run that had ended. It prints first what that will cost; with --dry_run it ends
there and writes nothing.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from cckeras.commands import (
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError, choose
from cckeras.flags import Flags
from cckeras.names import BENCHMARKS, METHODS
from cckeras.recipes import load_recipe


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = _flags()
    options.parse(arguments)
    if not options.run_dir:
        raise InputError("Expected --run_dir=FOLDER. Received: none. Name one.")
    choose("--benchmark", options.benchmark, BENCHMARKS)
    choose("--method", options.method, METHODS)
    config = load_recipe(options.benchmark, options.method, options.config)
    check_writable(options.json)
    start_backend(options.threads, config["distribute"])
    result = train(options, config)
    write_json(options.json, "train", result)


def train(options, config: dict) -> dict:
    """Learn what the run lacks; return a summary."""
    from cckeras.benchmarks import benchmark
    from cckeras.benchmarks.base import select_tasks
    from cckeras.runs.lock import RunLock
    from cckeras.training.distribution import distributed

    folder = Path(options.run_dir)
    learned = _learned(options, config, folder)
    tasks = benchmark(options.benchmark)(config, options.data_dir)
    tasks = select_tasks(tasks, options.tasks)
    _load_all(tasks, learned)
    if options.dry_run:
        cost = _print_cost(options, config, tasks, folder)
        return {"run": str(folder), "cost": cost}
    with (
        _folder(folder),
        RunLock(folder),
        _kept_if_learned(folder),
        distributed(config["distribute"]),
    ):
        run, planned, cost = _learn(options, config, tasks, folder)
    _print_table(run, planned)
    return {
        "run": str(folder),
        "cost": cost,
        "id": run.settings["id"],
        "learned": list(planned),
        "tasks": [
            {
                "name": record["name"],
                "classes": record["classes"],
                "parameters": record["parameters"],
                "metrics": record["metrics"],
                "digest": record["digest"],
            }
            for record in run.records
        ],
    }


def _learn(options, config, tasks, folder):
    """Learn the tasks that the run lacks; return it, `{task: phases}` and what
    they were expected to cost."""
    from cckeras.runs.records import RUN
    from cckeras.training.learn import learn, open_or_create
    from cckeras.training.pretrained import first_task
    from cckeras.training.progress import RunProgress

    created = not (folder / RUN).exists()
    run = open_or_create(folder, options.method, options.benchmark, config)
    if created:
        print(f"new run {folder}: {options.method} on {options.benchmark}")
    cost = _print_cost(options, config, tasks, folder)
    method = run.new_method()
    done = [task.name for task in run.tasks]
    if config.get("pretrained") and not done:
        done = [first_task(config["pretrained"], config).name]
    planned = {
        name: method.planned_phases(number)
        for number, name in enumerate(
            [name for name in tasks.tasks if name not in done],
            len(done) + 1,
        )
    }
    with RunProgress(planned, config["epochs"]) as progress:
        learn(
            run,
            tasks,
            threads=options.threads,
            workers=options.workers,
            observe=_observer(progress, options, folder),
        )
    return run, planned, cost


def _print_cost(options, config, tasks, folder):
    """Print what the tasks that the run lacks will cost, before any of them is
    learned; return it as JSON, None if there is none."""
    from cckeras.console import print_table, telling
    from cckeras.training.cost import estimate_cost
    from cckeras.training.cost_table import cost_table

    with telling() as tell:
        cost = estimate_cost(folder, options.method, config, tasks, tell)
    if cost is None:
        print(f"{folder} has learned all these tasks")
        return None
    print_table(cost_table(cost))
    sys.stdout.flush()
    return cost.to_json()


def _flags() -> Flags:
    options = Flags("cckeras.train", __doc__, configurable=True)
    options.add_text("benchmark", "digits5", f"one of {', '.join(BENCHMARKS)}")
    options.add_text("method", "condconv", f"one of {', '.join(METHODS)}")
    options.add_text("run_dir", None, "folder of the run")
    options.add_text("data_dir", None, "folder with the data")
    options.add_text("tasks", None, "learn these alone, as a,b,c")
    options.add_switch(
        "dry_run", "print what the run will cost; learn and write nothing"
    )
    options.add_switch("tensorboard", "write TensorBoard logs to RUN/logs")
    options.add_number(
        "workers", 0, "processes that read pictures; 0: a thread of this one", 0
    )
    options.add_threads()
    return options


def _learned(options, config, folder):
    """Return the names of the tasks that an existing run has; refuse one that
    began with another configuration, and a folder that is not a run's, before
    any data are read."""
    from cckeras.runs.records import RunRecords, is_unused

    if is_unused(folder):
        return []
    records = RunRecords.open(folder)
    records.check_same(options.method, options.benchmark, config)
    return [task.name for task in records.tasks]


def _load_all(tasks, learned):
    """Find what is wrong with the data before hours of training, and before
    anything is written."""
    from cckeras.console import telling

    with telling() as tell:
        for name in tasks.tasks:
            if name not in learned:
                tell(f"reading the data of task {name}")
                tasks.load(name)


@contextlib.contextmanager
def _folder(folder):
    """Make a folder; after bad input, what was made and is empty goes."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Expected --run_dir={folder} to be a folder that can be made. "
            f"Received: {error.strerror}. Choose another."
        ) from error
    try:
        yield
    except InputError:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()
        raise


@contextlib.contextmanager
def _kept_if_learned(folder):
    """After bad input, a new run that has learned nothing goes: its recipe
    would stand in the way of the corrected command."""
    from cckeras.runs import files
    from cckeras.runs.records import RUN, TASKS, TRAINING

    new = not (folder / RUN).exists()
    try:
        yield
    except InputError:
        parts = [folder / TASKS, folder / TRAINING]
        if new and not any(
            path for part in parts if part.is_dir() for path in part.iterdir()
        ):
            for path in (folder / RUN, *parts):
                files.remove(path)
        raise


def _observer(progress, options, folder):
    if not options.tensorboard:
        return progress.observe
    import importlib.util

    for package in ("tensorflow", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"Expected the package {package} for --tensorboard. Received: "
                "it is not installed. Try: pip install 'cckeras[tensorboard]'"
            )
    import keras

    def observe(task, data, phase):
        logs = folder / "logs" / f"{task.number:02d}-{task.name}" / phase.name
        return [
            *progress.observe(task, data, phase),
            keras.callbacks.TensorBoard(str(logs), write_graph=False),
        ]

    return observe


def _print_table(run, planned):
    from rich.table import Table

    from cckeras.console import print_table

    table = Table(title=f"{run.path}: {run.settings['method']}")
    for column in ("task", "classes", "validation", "test", "parameters"):
        table.add_column(
            column, justify="left" if column == "task" else "right"
        )
    for record in run.records:
        metrics = record["metrics"]
        table.add_row(
            record["name"] + (" (new)" if record["name"] in planned else ""),
            str(len(record["classes"])),
            *(
                "-" if metrics[key] is None else f"{metrics[key]:.1f} %"
                for key in ("validation_accuracy", "test_accuracy")
            ),
            f"{record['parameters']:,}",
        )
    print_table(table)
    print(f"next: python -m cckeras.verify {run.path}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
