#!/usr/bin/env python3
"""Time a training step with and without a kernel bank (conv4, 32x32x3)."""

from __future__ import annotations

import fnmatch
import platform
import statistics
from pathlib import Path

from csv_table import write_csv
from memory import memory_of, peak_memory_mb

from cckeras.commands import (
    check_writable,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError, nearest
from cckeras.flags import Flags

HELP = """
Time a training step of conv4 (32x32x3, batches of 32, 5 classes).

Variants, interleaved in one process for many rounds:
  plain             Conv2D, in a bare loop: a tf.function or a jitted function
  image20_auto ...  kernel bank, routing per image: 1, 5, 10 or 20 experts,
                    and the implementation of the per-image convolution
  task20            kernel bank, routing per task, 20 experts
  fit               plain, through fit() from the input pipeline
  pipeline          the input pipeline alone, on one core

Peak memory is that of a fresh process for 1 and for 20 experts. The backend
is KERAS_BACKEND, tensorflow or jax.

Example:
  KERAS_BACKEND=jax python tools/benchmark_training.py \\
      --threads=1 --rounds=20 --csv=docs/results/training_jax.csv
  python tools/benchmark_training.py --only='image20_*,fit'
"""
COLUMNS = (
    "machine",
    "backend",
    "versions",
    "threads",
    "network",
    "variant",
    "experts",
    "implementation",
    "median_ms",
    "iqr_ms",
    "images_per_s",
    "ratio_to_plain",
    "peak_memory_mb",
)


def main(arguments: list[str]) -> None:
    """Run the tool."""
    flags = Flags("benchmark_training.py", HELP)
    flags.add_number(
        "threads", 1, "processor threads to compute with; 0: all", 0
    )
    flags.add_number("rounds", 20, "times that every variant is timed", 1)
    flags.add_text("only", None, "variants beside plain, as 'image20_*,fit'")
    flags.add_text("csv", None, "write the table to this file")
    flags.add_text("memory_of", None, "")  # For this tool itself.
    flags.parse(arguments)
    for flag in ("csv", "json"):
        check_writable(getattr(flags, flag), flag)
    start_backend(flags.threads)
    import training_variants as tv

    known = tv.all_variants()
    if flags.memory_of is not None:
        loops = [v for v in known if v.variant not in ("fit", "pipeline")]
        variant = _choose("memory_of", flags.memory_of, loops)[0]
        tv.bare_loop(variant)(tv.MEMORY_STEPS)
        print(peak_memory_mb())
        return
    chosen = known
    if flags.only is not None:
        wanted = _choose("only", flags.only, known)
        chosen = [v for v in known if v in wanted or v.variant == "plain"]
    seconds, memory = measure(chosen, flags.rounds, flags.threads)
    rows = make_rows(chosen, seconds, memory, flags.threads)
    show(rows, flags.rounds)
    if flags.csv is not None:
        write_csv(Path(flags.csv).resolve(), COLUMNS, rows)
    write_json(
        flags.json,
        "benchmark_training",
        {"batch_size": tv.BATCH, "rounds": flags.rounds, "rows": rows},
    )


def measure(chosen, rounds: int, threads: int):
    """Time the variants; return `{variant: seconds a step of every round}`
    and `{variant: peak memory in MB}`."""
    import training_variants as tv
    from rich.console import Console
    from rich.progress import Progress

    seconds = {variant: [] for variant in chosen}
    weighed = [variant for variant in chosen if variant.weighs]
    fit = tv.Variant("fit")
    timers, memory = {}, {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = len(weighed) + len(chosen) + rounds
        bar = progress.add_task("", total=total)

        def report(text):
            progress.update(bar, description=text)

        for variant in weighed:
            report(f"memory of {variant.label}")
            memory[variant] = memory_of(
                __file__,
                f"--memory_of={variant.label}",
                f"--threads={threads}",
            )
            progress.advance(bar)
        for variant in chosen:
            report(f"building {variant.label}")
            if variant.variant == "pipeline":
                timers[variant] = tv.pipeline()
            elif variant != fit:
                timers[variant] = tv.bare_loop(variant)
            progress.advance(bar)

        def one_round():
            for variant, timer in timers.items():
                if variant.variant == "pipeline":
                    seconds[variant].append(timer())
                else:
                    # The first step finds the caches full of other variants.
                    timer(1)
                    seconds[variant].append(timer(tv.STEPS))
            progress.advance(bar)

        report(f"{rounds} rounds")
        if fit in seconds:
            seconds[fit] = tv.through_fit(rounds, one_round)
        else:
            for _ in range(rounds):
                one_round()
    return seconds, memory


def make_rows(chosen, seconds, memory, threads: int) -> list[dict]:
    """Return the table, a dictionary with `COLUMNS` for every variant."""
    import training_variants as tv

    from cckeras.runs.environment import environment

    here = environment(threads)
    plain = statistics.median(seconds[tv.Variant("plain")])
    rows = []
    for variant in chosen:
        samples = seconds[variant]
        median = statistics.median(samples)
        low, _, high = (
            statistics.quantiles(samples, n=4, method="inclusive")
            if len(samples) > 1
            else samples * 3
        )
        peak = memory.get(variant)
        values = (
            here["processor"].split(" [")[0],
            here["backend"],
            f"python {platform.python_version()}, keras {here['keras']}, "
            f"{here['backend']} {here['backend_version']}",
            threads,
            tv.NETWORK,
            variant.variant,
            variant.experts,
            variant.implementation,
            round(1e3 * median, 3),
            round(1e3 * (high - low), 3),
            round(tv.BATCH / median, 1),
            round(median / plain, 3),
            None if peak is None else round(peak, 1),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def show(rows: list[dict], rounds: int) -> None:
    """Print the table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    first = rows[0]
    table = Table(
        title=f"{first['network']}, threads: {first['threads'] or 'all'}, "
        f"rounds: {rounds}, medians\n{first['versions']}\n{first['machine']}",
        box=box.SIMPLE,
    )
    table.add_column("variant", min_width=8)
    for heading in (
        "experts",
        "form",
        "ms",
        "iqr ms",
        "images/s",
        "to plain",
        "peak MB",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        peak = row["peak_memory_mb"]
        table.add_row(
            row["variant"],
            str(row["experts"] or ""),
            row["implementation"] or "",
            f"{row['median_ms']:.2f}",
            f"{row['iqr_ms']:.2f}",
            f"{row['images_per_s']:,.0f}",
            f"{row['ratio_to_plain']:.2f}",
            "" if peak is None else f"{peak:.0f}",
        )
    Console().print(table)


def _choose(flag, text, known):
    """Return the variants that a comma-separated list of patterns names."""
    labels = {variant.label: variant for variant in known}
    chosen = []
    for pattern in text.split(","):
        found = fnmatch.filter(labels, pattern.strip())
        if not found:
            raise InputError(
                f"Expected --{flag} to name variants, of "
                f"{', '.join(labels)}. Received: {pattern!r}."
                f"{nearest(pattern, labels)}"
            )
        chosen += [labels[label] for label in found]
    return chosen


if __name__ == "__main__":
    run_command(main)
