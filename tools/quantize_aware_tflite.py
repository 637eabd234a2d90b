#!/usr/bin/env python3
"""Fine-tune a task to eight-bit integers and export it as a `.tflite` file."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

from benchmark_tflite import measure
from export_tflite import check_output

from cckeras.commands import (
    check_writable,
    open_learned,
    open_with_data,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError
from cckeras.flags import Flags

HELP = """
Fine-tune a task's folded network to eight-bit integers, and export it.

The network is trained for a few epochs on the task's own training images while
its kernels and activations are rounded as the int8 file rounds them; the epoch
with the best validation accuracy is kept. --output is that file, or the one of
export_tflite.py --quantize=int8 (rounded after training) where fine-tuning is
not better on validation images. The run is not changed. The table shows both
beside the float32 file: accuracies, sizes, and latencies on one thread.

It needs an environment of its own, since the toolkit that it uses needs Keras 2:
make quantize-env.

Example:
  make quantize-env
  .venv-quantize/bin/python tools/quantize_aware_tflite.py runs/digits5 \\
      --task=two_three --output=two_three.tflite
"""
PACKAGES = ("tensorflow_model_optimization", "tf_keras")


def main(arguments: list[str]) -> None:
    """Run the tool."""
    options = Flags("quantize_aware_tflite.py", HELP, ("RUN",))
    options.add_text("output", None, "the .tflite file to write")
    options.add_text(
        "task", None, "name of the task; may be absent if only one"
    )
    options.add_text("data_dir", None, "folder with the data, as in training")
    options.add_number("epochs", 10, "of the fine-tuning", 1)
    options.add_decimal(
        "learning_rate", 1e-4, "of Adam; falls to zero as a cosine", 1e-9, 1
    )
    options.add_number("batch_size", 32, "images a step", 1)
    options.add_number("seed", 0, "of order and augmentation", 0, 2**31 - 1)
    options.add_number("rounds", 100, "times that each file is timed", 3)
    options.add_threads()
    (folder,) = options.parse(arguments)
    output = check_output(options.output)
    check_writable(options.json)
    task = chosen_task(options.task, open_learned(folder))
    check_environment()
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # The toolkit asks for it.
    start_backend(options.threads, only="tensorflow")
    from cckeras.console import telling
    from cckeras.export.fine_tuning import Recipe
    from cckeras.export.quantize_aware import better, quantize_task
    from cckeras.runs import files

    run, data = open_with_data(folder, options.data_dir)
    recipe = Recipe(
        options.epochs,
        options.learning_rate,
        options.batch_size,
        options.seed,
        data.load(task).augmentation or run.config["augmentation"],
    )
    with tempfile.TemporaryDirectory() as work, telling() as tell:
        candidates, history = quantize_task(
            run, data, task, recipe, Path(work), tell
        )
        rows = compared(candidates, options.rounds, tell)
        kept = better(candidates)
        files.replace_file(output, candidates[kept].path.read_bytes())
    result = {"task": task, "kept": kept, "history": history, "rows": rows}
    write_json(options.json, "quantize_aware_tflite", result)
    print_result(result, output)


def chosen_task(name: str | None, records) -> str:
    """Return the task to export.

    Raises:
        InputError: if the run does not have it, or none of several is named.
    """
    if name is not None:
        return records.record(name)["name"]
    names = [record["name"] for record in records.records]
    if len(names) > 1:
        raise InputError(
            f"Expected --task=NAME, one of {', '.join(names)}. Received: no "
            "such flag. Name one."
        )
    return names[0]


def check_environment() -> None:
    """Check that the tool runs in its own environment.

    Raises:
        InputError: if a package is missing.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"Expected the package {package}. Received: an environment "
                "without it. Run make quantize-env, then this tool with "
                ".venv-quantize/bin/python."
            )


def compared(candidates, rounds: int, progress) -> list[dict]:
    """Return a row for each file: accuracies, size, latency."""
    described = {c.path: c.metadata for c in candidates.values()}
    times = measure(described, 1, rounds, progress)
    rows = []
    for (name, candidate), time in zip(candidates.items(), times, strict=True):
        (entry,) = candidate.metadata["tasks"]
        rows.append(
            {
                "network": name,
                "validation_accuracy": candidate.validation_accuracy,
                "test_accuracy": entry["parity"]["accuracy"],
                "difference": entry["parity"]["difference"],
                "model_size_mb": time["model_size_mb"],
                "median_ms": time["median_ms"],
                "p5_ms": time["p5_ms"],
                "p95_ms": time["p95_ms"],
                "ratio": time["ratio"],
            }
        )
    return rows


def print_result(result: dict, output: Path) -> None:
    """Print a row for each file."""
    from rich.table import Table

    from cckeras.console import print_table

    table = Table(title=f"{result['task']}; {output} is {result['kept']}")
    table.add_column("network")
    for column in ("validation", "test", "MB", "median ms", "ratio"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        test = row["test_accuracy"]
        table.add_row(
            row["network"],
            f"{row['validation_accuracy']:.1f} %",
            "-" if test is None else f"{test:.1f} %",
            f"{row['model_size_mb']:.2f}",
            f"{row['median_ms']:.3f}",
            f"{row['ratio']:.2f}",
        )
    print_table(table)


if __name__ == "__main__":
    run_command(main)
