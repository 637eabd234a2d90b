#!/usr/bin/env python3
"""Time exported `.tflite` files with LiteRT, and weigh them."""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path

from csv_table import write_csv
from memory import memory_of, resident_memory_mb

from cckeras.commands import (
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError
from cckeras.flags import Flags

HELP = """
Time exported .tflite files with LiteRT on this processor.

A row for every form in a file (its last task of that form) and for 'identify',
all interleaved in one process, batch 1. With --compare two plain networks of the same backbone
are timed beside them: one task's (the floor, ratio 1) and one with 16.34 times
its parameters (what CPG ends at). Memory is what a process of its own gains
from opening a file and calling every task of it. The plain networks are in the
quantization of the first file.

Example:
  python tools/benchmark_tflite.py digits5.tflite --compare
  python tools/benchmark_tflite.py a.tflite b.tflite --csv=out.csv
"""
COLUMNS = (
    "file",
    "form",
    "task",
    "median_ms",
    "p5_ms",
    "p95_ms",
    "min_ms",
    "max_ms",
    "avg_ms",
    "stddev_ms",
    "init_ms",
    "first_inference_ms",
    "num_runs",
    "ratio",
    "memory_mb",
    "model_size_mb",
    "outside_xnnpack",
)
# Two narrow tables, for terminals of 80 columns.
TABLES = {
    "calls": ("file", "form", "task", "ratio", "median_ms", "p5_ms", "p95_ms"),
    "opening and size": (
        "file",
        "form",
        "init_ms",
        "first_inference_ms",
        "memory_mb",
        "model_size_mb",
    ),
}
INNER = 3  # Runs in a row; the first of them finds cold caches and counts not.


def main(arguments: list[str]) -> None:
    """Run the tool."""
    options = Flags("benchmark_tflite.py", HELP, ("FILE...",))
    options.add_number("threads", 1, "threads of LiteRT", 1, 64)
    options.add_number("rounds", 100, "times that everything is timed", 3)
    options.add_switch("compare", "time plain networks beside the files")
    options.add_text("csv", None, "write the table to this file")
    options.add_text("plot", None, "draw the table into this .svg file")
    options.add_switch("memory_of", "")  # Of one file: for this tool itself.
    paths = [Path(path) for path in options.parse(arguments)]
    if options.memory_of:
        print(memory_gained(paths[0]))
        return
    for flag in ("csv", "json", "plot"):
        check_writable(getattr(options, flag), flag)
    if options.plot is not None and not options.plot.endswith(".svg"):
        raise InputError(
            f"Expected --plot=FILE.svg. Received: {options.plot!r}. Name such "
            "a file."
        )
    from cckeras.console import telling
    from cckeras.export import metadata

    described = {path: metadata.read(path) for path in paths}
    with tempfile.TemporaryDirectory() as folder, telling() as tell:
        if options.compare:
            tell("making plain networks")
            start_backend(only="tensorflow")
            plain = plain_files(Path(folder), described[paths[0]])
            described = plain | described
        rows = measure(described, options.threads, options.rounds, tell)
    result = {"threads": options.threads, "rows": rows}
    write_json(options.json, "benchmark_tflite", result)
    if options.csv is not None:
        write_csv(Path(options.csv).resolve(), COLUMNS, rows)
    if options.plot is not None:
        draw(Path(options.plot).resolve(), rows)
    show(rows)


def plain_files(folder: Path, like: dict) -> dict[Path, dict]:
    """Make the plain networks; return `{path: metadata}`, the floor first.

    Args:
        folder: where.
        like: metadata of a file with the same backbone.
    """
    from cckeras.export import metadata
    from cckeras.export.compared import CPG_SIZE, plain_model
    from cckeras.export.static import Input

    size = like["input"]["shape"][1]
    source = Input(like["backbone"], size, (0.5,) * 3, (0.25,) * 3)
    classes = max((task["classes"] for task in like["tasks"]), key=len)
    found = {}
    for name, ratio in (("plain", 1.0), (f"plain x {CPG_SIZE}", CPG_SIZE)):
        model = plain_model(source, len(classes), ratio, like["quantization"])
        task = {
            **like["tasks"][0],
            "name": name,
            "classes": classes,
            "form": "constant",
            "signature": "classify",
            "index": None,
        }
        description = {
            **like,
            "tasks": [task],
            "identify": None,
            "model_bytes": len(model),
            "model_sha256": hashlib.sha256(model).hexdigest(),
        }
        path = folder / f"{name}.tflite"
        path.write_bytes(metadata.append(model, description))
        found[path] = description
    return found


def measure(described, threads: int, rounds: int, progress) -> list[dict]:
    """Return the table's rows, in the order of the files."""
    import numpy as np

    from cckeras.export.inspection import operators_left_out
    from cckeras.export.runtime import ExportedTasks

    rng = np.random.default_rng(0)
    entries = []
    names = [path.name for path in described]
    for path, description in described.items():
        progress(f"opening {path.name}")
        memory = memory_of(__file__, str(path), "--memory_of")
        image = rng.integers(0, 256, description["input"]["shape"][1:])
        start = time.perf_counter()
        opened = ExportedTasks(path, threads)
        ready = time.perf_counter()
        calls = {
            task["form"]: (task["signature"], task["name"])
            for task in description["tasks"]
        }
        if found := description.get("identify"):
            calls["identify"] = found["signature"], ""
        for form, (signature, task) in calls.items():
            begin = time.perf_counter()
            if task:
                opened.probabilities(task, image)
            else:
                opened.identify(image)
            first = time.perf_counter() - begin
            row = {
                "file": path.name if names.count(path.name) == 1 else str(path),
                "form": form,
                "task": task,
                "init_ms": 1000 * (ready - start),
                "first_inference_ms": 1000 * first,
                "memory_mb": memory,
                "model_size_mb": path.stat().st_size / 1e6,
                "outside_xnnpack": json.dumps(
                    operators_left_out(opened.interpreter)
                ),
            }
            entries.append((opened, signature, row))
    seconds = [[] for _ in entries]
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for (opened, signature, _), times in zip(entries, seconds, strict=True):
            for run in range(INNER):
                start = time.perf_counter()
                opened.compute_again(signature)
                if run:
                    times.append(1000 * (time.perf_counter() - start))
    for (_, _, row), times in zip(entries, seconds, strict=True):
        row |= {
            "median_ms": statistics.median(times),
            "p5_ms": float(np.percentile(times, 5)),
            "p95_ms": float(np.percentile(times, 95)),
            "min_ms": min(times),
            "max_ms": max(times),
            "avg_ms": statistics.mean(times),
            "stddev_ms": statistics.stdev(times),
            "num_runs": len(times),
        }
    rows = [row for _, _, row in entries]
    floor = rows[0]["median_ms"]
    return [
        {column: _rounded({**row, "ratio": row["median_ms"] / floor}[column])
         for column in COLUMNS}
        for row in rows
    ]  # fmt: skip


def _rounded(value):
    return round(value, 4) if isinstance(value, float) else value


def memory_gained(path: Path) -> float:
    """Return what this process gains, in 10^6 bytes, by opening a file and
    calling every task."""
    import numpy as np

    from cckeras.export.runtime import ExportedTasks

    before = resident_memory_mb()
    if before is None:
        raise InputError(
            "Expected a system with /proc, to measure memory. Received: none. "
            "Run this on Linux."
        )
    opened = ExportedTasks(path)
    image = np.zeros(opened.metadata["input"]["shape"][1:], np.float32)
    for task in opened.tasks:
        opened.probabilities(task, image)
    if opened.metadata.get("identify"):
        opened.identify(image)
    return resident_memory_mb() - before


def show(rows: list[dict]) -> None:
    """Print the table."""
    from rich.table import Table

    from cckeras.console import print_table

    for title, columns in TABLES.items():
        table = Table(title=f"{title}; ratio to {rows[0]['file']}")
        for column in columns:
            text = isinstance(rows[0][column], str)
            table.add_column(
                column.replace("_", "\n", 1).replace("_", " "),
                justify="left" if text else "right",
                no_wrap=not text,
                overflow="fold",
            )
        for row in rows:
            values = [row[column] for column in columns]
            table.add_row(
                *(x if isinstance(x, str) else f"{x:.2f}" for x in values)
            )
        print_table(table)


def draw(path: Path, rows: list[dict]) -> None:
    """Draw the medians as bars."""
    from cckeras.export.plot import latencies
    from cckeras.runs import files

    bars = {f"{row['file']}, {row['form']}": row["median_ms"] for row in rows}
    files.replace_file(path, latencies(bars).encode())


if __name__ == "__main__":
    run_command(main)
