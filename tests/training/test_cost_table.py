"""The table of what a run will cost."""

import pytest

from cckeras.console import print_table
from cckeras.training.cost import RunCost, TaskCost
from cckeras.training.cost_table import cost_table, short_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_996, "10.0 k"),
        (99_960, "100 k"),
        (999_600, "1.00 M"),
        (339_750_912, "340 M"),
        (2.59e11, "259 G"),
        (3e21, "3000 E"),
    ],
)
def test_short_numbers(number, text):
    assert short_number(number) == text


def test_the_table_names_every_task_and_the_sums(capsys):
    cost = RunCost(
        (
            TaskCost("plain", 216, 20, 140, 340_000_000, 36.4, 1000, 5000),
            TaskCost("[red]", 1218, 40, 1560, 1_000_000, 80.0, 1000, 700),
        ),
        ("plain",),
        2_000_000,
        962_000_000,
    )
    print_table(cost_table(cost))
    out = " ".join(capsys.readouterr().out.split())
    assert "plain │ 216 │ 20 │ 140 │ 340 M │ 36 s │ 5.00 kB" in out
    assert "[red] │ 1,218 │ 40 │ 1,560 │ 1.00 M │ 1 min 20 s │ 700 B" in out
    assert "53.0 k images, 1.70 k steps, 49.2 G multiply-adds" in out
    assert "1 min 56 s, 5.70 kB on disk and 2.00 MB of checkpoints" in out
    assert out.endswith("962 MB of memory. Timed: plain.")
