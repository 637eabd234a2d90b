#!/usr/bin/env python3
"""Time how fast pictures are read and changed, beside how fast they are used."""

from __future__ import annotations

import itertools
import time

from cckeras.commands import (
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.console import print_table, telling
from cckeras.errors import InputError, choose
from cckeras.flags import Flags
from cckeras.names import BENCHMARKS, METHODS
from cckeras.recipes import load_recipe

HELP = """
Time the input of a benchmark's training: pictures decoded, cropped, flipped and
put into batches, by a thread of the training process and by worker processes;
beside it, how many pictures a second a training step uses up. Says which of the
two waits for the other, and how many workers would do.

Example:
  python tools/benchmark_input.py --benchmark=image_folder --data_dir=PICTURES \\
      --config.augmentation=resized_crop_and_flip --workers=0,2 --threads=1
"""
# Epochs to prepare, in batches.
MOST_BATCHES = 1000


def main(arguments: list[str]) -> None:
    """Run the tool."""
    flags = Flags("benchmark_input.py", HELP, configurable=True)
    flags.add_text(
        "benchmark", "image_folder", f"one of {', '.join(BENCHMARKS)}"
    )
    flags.add_text("method", "condconv", f"one of {', '.join(METHODS)}")
    flags.add_text("data_dir", None, "folder with the data")
    flags.add_text("task", None, "whose pictures; the first one's if absent")
    flags.add_text("workers", "0,1,2", "numbers of processes to try")
    flags.add_decimal("seconds", 5.0, "how long each is timed", 0.1)
    flags.add_threads()
    flags.parse(arguments)
    choose("--benchmark", flags.benchmark, BENCHMARKS)
    choose("--method", flags.method, METHODS)
    workers = _numbers(flags.workers)
    config = load_recipe(flags.benchmark, flags.method, flags.config)
    check_writable(flags.json)
    start_backend(flags.threads)
    result = measure(flags, config, workers)
    show(result)
    write_json(flags.json, "benchmark_input", result)


def measure(flags, config: dict, workers: list[int]) -> dict:
    """Return what schemas/benchmark_input.json describes."""
    from cckeras.benchmarks import benchmark

    tasks = benchmark(flags.benchmark)(config, flags.data_dir)
    name = flags.task or tasks.tasks[0]
    choose("--task", name, tasks.tasks)
    with telling() as tell:
        tell(f"reading the data of task {name}")
        data = tasks.load(name)
        if not len(data.train):
            raise InputError(
                f"Expected training pictures of task {name!r}. Received: none. "
                f"Choose another --task, of {', '.join(tasks.tasks)}."
            )
        rows = []
        for count in workers:
            tell(f"timing the input with {count or 'no'} workers")
            rows.append(_time_input(config, name, data, count, flags.seconds))
        tell("timing training steps")
        used = _time_steps(flags.method, config, name, data)
    best = max(rows, key=lambda row: row["images_per_s"])
    return {
        "task": name,
        "images": len(data.train),
        "size": config["image_size"],
        "augmentation": data.augmentation or config["augmentation"],
        "input": rows,
        "training_images_per_s": used,
        "waits": "input" if best["images_per_s"] > used else "training",
    }


def _time_input(config, name, data, workers, seconds):
    from cckeras.data.pipeline import steps_per_epoch, training_batches

    batch = config["batch_size"]
    epochs = max(2, MOST_BATCHES // steps_per_epoch(len(data.train), batch))
    # Epochs are made beforehand, each at a cost; where they end, all over.
    batches = itertools.chain.from_iterable(
        training_batches(
            data.train,
            seed=config["seed"],
            task=name,
            batch_size=batch,
            augmentation=data.augmentation or config["augmentation"],
            first_epoch=first,
            epochs=first + epochs,
            workers=workers,
        )
        for first in itertools.count(0, epochs)
    )
    # Whatever is read ahead, or started, is not of the time that counts.
    for _ in range(8):
        next(batches)
    count, start, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        count += len(next(batches)[1])
    passed = time.perf_counter() - start
    core = time.process_time() - used
    return {
        "workers": workers,
        "images_per_s": round(count / passed, 1),
        # Of worker processes the processor time is not known here.
        "images_per_core_s": None if workers else round(count / core, 1),
    }


def _time_steps(method_name, config, name, data):
    from cckeras.methods import method_class
    from cckeras.task import Task
    from cckeras.training.timing import time_phase

    method = method_class(method_name)(config)
    task = Task(name, 1, data.classes)
    method.grow(task)
    timing = time_phase(next(method.phases(task)), method, task, data)
    return round(config["batch_size"] / timing.step, 1)


def show(result: dict) -> None:
    """Print the table and what follows from it."""
    from rich.table import Table

    table = Table(
        title=f"{result['task']}: {result['images']:,} pictures, "
        f"{result['size']} pixels, {result['augmentation']}"
    )
    table.add_column("")
    for heading in ("pictures/s", "pictures/s and core"):
        table.add_column(heading, justify="right")
    for row in result["input"]:
        core = row["images_per_core_s"]
        table.add_row(
            f"input, {row['workers']} workers"
            if row["workers"]
            else "input, a thread",
            f"{row['images_per_s']:,.0f}",
            "" if core is None else f"{core:,.0f}",
        )
    used = result["training_images_per_s"]
    table.add_row("training step", f"{used:,.0f}", "")
    print_table(table)
    enough = [row for row in result["input"] if row["images_per_s"] > used]
    if enough:
        print(
            "The input waits for the training step: "
            f"--workers={enough[0]['workers']} is enough."
        )
    else:
        print(
            "The training step waits for the input: try more --workers, or "
            "smaller pictures."
        )


def _numbers(text):
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise InputError(
            "Expected --workers to be numbers of processes, as 0,2,4. "
            f"Received: {text!r}. Give 0 for a thread of this process."
        )
    return numbers


if __name__ == "__main__":
    run_command(main)
