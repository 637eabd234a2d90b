"""What a run will cost, as a table for people."""

from __future__ import annotations

from rich.table import Table

from cckeras.training.cost import RunCost
from cckeras.training.progress import duration

UNITS = ("", "k", "M", "G", "T", "P", "E")
COLUMNS = (
    "task to learn",
    "images",
    "epochs",
    "steps",
    "multiply-adds\na step",
    "time",
    "on disk",
)


def short_number(number: float) -> str:
    """Return a number with three digits and a unit of thousands, as `1.45 M`."""
    place = 0
    while number >= 999.5 and place < len(UNITS) - 1:
        number /= 1000
        place += 1
    digits = 0 if place == 0 or number >= 99.95 else 2 - (number >= 9.995)
    return f"{number:.{digits}f} {UNITS[place]}".strip()


def cost_table(cost: RunCost) -> Table:
    """Return the table; its caption has the sums and how they were found."""
    total = cost.to_json()
    table = Table(
        title="Expected cost",
        caption=(
            f"{short_number(total['images'])} images, "
            f"{short_number(total['steps'])} steps, "
            f"{short_number(total['multiply_adds'])} multiply-adds, "
            f"{duration(total['seconds'])}, "
            f"{_bytes(total['disk_bytes'])} on disk and "
            f"{_bytes(total['checkpoint_bytes'])} of checkpoints meanwhile, "
            f"{_bytes(total['peak_memory_bytes'])} of memory. "
            f"Timed: {', '.join(cost.timed)}."
        ),
        caption_justify="left",
    )
    for column in COLUMNS:
        table.add_column(
            column, justify="left" if column == COLUMNS[0] else "right"
        )
    for task in cost.tasks:
        table.add_row(
            task.name,
            f"{task.images:,}",
            f"{task.epochs:,}",
            f"{task.steps:,}",
            short_number(task.multiply_adds),
            duration(task.seconds),
            _bytes(task.disk_bytes),
        )
    return table


def _bytes(number):
    return f"{short_number(number)}B" if number >= 1000 else f"{number} B"
