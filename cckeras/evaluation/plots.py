"""The plots of a report: each function returns one SVG as text.

`tasks` is always `{name: number in the run}`, in order.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from cckeras.evaluation.figures import (
    BLUE,
    COLOURS,
    INK,
    ORANGE,
    WIDTH,
    add_axes,
    add_legend,
    label_width,
    new_figure,
    rounded_range,
    row_labels,
    shorten,
    styled,
    to_svg,
    whole_numbers,
)

ACCURACY = "accuracy (%)"
LARGEST_CELL, NUMBERED_TASKS = 28, 10


@styled
def accuracy_matrices(
    tasks: dict[str, int], matrices: dict[str, list[list[float | None]]]
) -> str:
    """Draw accuracy matrices as heat maps with one scale of colours.

    Args:
        tasks: the `T` tested tasks.
        matrices: `{title: matrix}`; a matrix is `[T][T]` in percent, a row
            per learned task, a column per tested task, None where unknown.
    """
    panels = {
        title: {
            (row, column): value
            for row, values in enumerate(matrix)
            for column, value in enumerate(values)
            if value is not None
        }
        for title, matrix in matrices.items()
    }
    figure = _heat_maps(
        panels,
        row_labels(tasks),
        [str(number) for number in tasks.values()],
        ("after learning", "tested task", ACCURACY),
        across=2,
        step=10,
        number="{:.1f}",
    )
    return to_svg(figure, "accuracy_matrix")


@styled
def accuracies(
    tasks: dict[str, int],
    reached: list[float | None],
    published: dict[str, float] | None = None,
) -> str:
    """Draw the accuracy per task beside the published row.

    Args:
        tasks: the `T` tasks.
        reached: `T` accuracies in percent, None where unknown.
        published: `{task: percent}`, if there is a published row.
    """
    names = row_labels(tasks)
    left, height = label_width(names), 15 * len(tasks)
    figure = new_figure(height + 58)
    axes = add_axes(figure, left, 26, WIDTH - left - 20, height)
    places = np.arange(len(tasks))
    ours = np.array(reached, dtype=float)
    others = np.array(
        [(published or {}).get(task, np.nan) for task in tasks], dtype=float
    )
    axes.plot(ours, places, "o", color=BLUE, label="this run")
    if published:
        axes.hlines(places, ours, others, color=INK, alpha=0.4, linewidth=1)
        axes.plot(
            others, places, "D", color=ORANGE, mfc="none", label="published"
        )
    axes.set_yticks(places, names)
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    lower, upper = rounded_range([*ours, *others], 10)
    margin = (upper - lower) / 50
    axes.set_xlim(lower - margin, upper + margin)
    axes.set_xlabel(ACCURACY)
    axes.grid(axis="both")
    add_legend(figure, axes, left)
    return to_svg(figure, "accuracies")


@styled
def learning_curves(records: list[dict]) -> str:
    """Draw accuracy over epochs, a panel a task, its phases in a row.

    Args:
        records: the tasks' records, with histories of values in 0..1.
    """
    across, gap, left, top, height, pitch = 5, 12, 36, 40, 78, 112
    width = (WIDTH - left - gap * across) / across
    figure = new_figure(top + math.ceil(len(records) / across) * pitch + 8)
    curves = [_curves(record) for record in records]
    lower, upper = rounded_range(
        [y for task in curves for _, _, values in task for y in values], 10
    )
    for index, (record, task) in enumerate(zip(records, curves, strict=True)):
        row, column = divmod(index, across)
        axes = add_axes(
            figure,
            left + column * (width + gap),
            top + row * pitch,
            width,
            height,
        )
        for name, start, values in task:
            axes.plot(
                np.arange(start, start + len(values)) + 1,
                values,
                color=BLUE if name == "validation" else ORANGE,
                label=name,
                linewidth=1,
                marker="." if len(values) == 1 else None,
            )
        for start in sorted({start for _, start, _ in task} - {0}):
            axes.axvline(start + 0.5, color=INK, alpha=0.3, linewidth=0.6)
        axes.set_title(f"{record['number']}  {shorten(record['name'], 24)}")
        axes.set_ylim(lower, 1.02 * upper)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(whole_numbers(4))
        axes.grid(axis="y")
        axes.tick_params(labelleft=column == 0)
        if index + across >= len(records):
            axes.set_xlabel("epoch")
        if column == 0:
            axes.set_ylabel(ACCURACY)
    add_legend(figure, figure.axes[0], left)
    return to_svg(figure, "learning_curves")


@styled
def routing_weights(tasks: dict[str, int], routing: dict[str, dict]) -> str:
    """Draw mean routing weights, a heat map a layer: tasks by experts.

    Args:
        tasks: the run's tasks, which also name the experts.
        routing: `{task: {layer: {"experts": [n names], "mean": [n]}}}`.
    """
    names = list(tasks)
    panels = {}
    for row, task in enumerate(tasks):
        for layer, weights in routing.get(task, {}).items():
            means = zip(weights["experts"], weights["mean"], strict=True)
            panels.setdefault(layer, {}).update(
                {(row, names.index(expert)): mean for expert, mean in means}
            )
    figure = _heat_maps(
        panels,
        row_labels(tasks),
        [str(number) for number in tasks.values()],
        ("task", "expert", "mean routing weight"),
        across=2 if len(panels) <= 4 else 3,
        step=0.1,
        number="{:.2f}",
    )
    return to_svg(figure, "routing_weights")


@styled
def size(records: list[dict]) -> str:
    """Draw stored parameters and multiply-adds, relative to the first task.

    Args:
        records: the tasks' records in order.
    """
    numbers = [record["number"] for record in records]
    panels = {
        "parameters owned by all tasks so far": np.cumsum(
            [record["parameters"] for record in records]
        ),
        "multiply-adds of one image": np.array(
            [record["multiply_adds"] for record in records]
        ),
    }
    figure, left, width = new_figure(184), 36, 300
    for index, (title, values) in enumerate(panels.items()):
        axes = add_axes(figure, left + index * (width + 60), 24, width, 120)
        axes.plot(numbers, values / values[0], "o-", color=BLUE, markersize=3)
        axes.set_title(title)
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
        axes.set_ylim(0, 1.08 * max(values / values[0]))
        axes.set_xlabel("task")
        axes.xaxis.set_major_locator(whole_numbers(10))
        axes.grid(axis="y")
        if index == 0:
            axes.set_ylabel("relative to task 1")
    return to_svg(figure, "size")


def _curves(record):
    """Return `[(curve, epochs before it, percent per epoch)]` of a task."""
    curves, start = [], 0
    keys = {"training": "accuracy", "validation": "val_accuracy"}
    for phase in record["phases"]:
        history = phase["history"]
        for name, key in keys.items():
            if history.get(key):
                curves.append((name, start, 100 * np.array(history[key])))
        start += len(history.get("accuracy", ()))
    return curves


def _heat_maps(panels, rows, columns, labels, across, step, number):
    """Return a figure of heat maps, `{title: {(row, column): value}}`."""
    across = min(across, max(1, len(panels)))
    left, top, gap, bar = label_width(rows) + 14, 28, 16, 48
    cell = (WIDTH - left - bar) / across - gap
    cell = min(LARGEST_CELL, cell / len(columns))
    width, height = cell * len(columns), cell * len(rows)
    # Titles of narrow panels need room, too.
    pitch, advance = height + 52, max(width + gap, 160)
    down = math.ceil(len(panels) / across)
    figure = new_figure(max(top + down * pitch - 16, 116))
    known = [value for cells in panels.values() for value in cells.values()]
    scale = Normalize(*rounded_range(known, step))
    numbered = len(columns) <= NUMBERED_TASKS and cell >= 20
    every = 1 if cell >= 11 else 5
    shown = [n for n in range(len(columns)) if n == 0 or not (n + 1) % every]
    for index, (title, cells) in enumerate(panels.items()):
        row, column = divmod(index, across)
        axes = add_axes(
            figure,
            left + column * advance,
            top + row * pitch,
            width,
            height,
        )
        _heat_map(axes, cells, scale)
        if numbered:
            _write_numbers(axes, cells, scale, number)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([n + 0.5 for n in shown], [columns[n] for n in shown])
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.tick_params(length=0, labelleft=column == 0)
        axes.tick_params(axis="y", labelsize=min(7.5, 0.85 * cell))
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        axes.set_xlabel(labels[1])
        if column == 0:
            axes.set_ylabel(labels[0])
    place = left + across * advance
    axes = add_axes(figure, place, top, 9, min(max(height, 80), 160))
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), axes, label=labels[2])
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")
    axes.tick_params(length=0)
    return figure


def _heat_map(axes, cells, scale):
    # Rectangles with gaps: browsers show hairlines between adjoining ones.
    squares = PatchCollection(
        [Rectangle((x + 0.03, y + 0.03), 0.94, 0.94) for y, x in cells],
        cmap=COLOURS,
        norm=scale,
        linewidth=0,
    )
    squares.set_array(np.array(list(cells.values()), dtype=float))
    axes.add_collection(squares)


def _write_numbers(axes, cells, scale, number):
    for (row, column), value in cells.items():
        axes.text(
            column + 0.5,
            row + 0.5,
            number.format(value),
            ha="center",
            va="center_baseline",
            fontsize=7,
            color="#ffffff" if scale(value) < 0.47 else "#000000",
        )
