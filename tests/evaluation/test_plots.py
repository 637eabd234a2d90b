"""The plots: well-formed, reproducible, and what they say is what is known."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from cckeras.evaluation import plots

TASKS = {"fish": 1, "$a$ <b> & 'c'": 2, "花": 4}
MATRIX = [[61.5, None, None], [61.5, 72.25, None], [60.0, 72.25, 83.0]]


def record(name, number, phases):
    """Return the part of a task's record that the plots read."""
    return {
        "name": name,
        "number": number,
        "parameters": 1000,
        "multiply_adds": 2000 + 100 * number,
        "phases": [{"history": history} for history in phases],
    }


RECORDS = [
    record(
        "fish",
        1,
        [
            {"accuracy": [0.25, 0.5], "val_accuracy": [0.2, 0.45]},
            {},
            {"accuracy": [0.75]},
        ],
    ),
    record("花", 4, [{"accuracy": [0.9] * 30, "val_accuracy": [0.8] * 30}]),
]
ROUTING = {
    "花": {
        "conv1": {"experts": ["fish", "花"], "mean": [0.375, 0.5]},
        "conv2": {"experts": ["花"], "mean": [0.625]},
    }
}
DRAWN = {
    "matrices": lambda: plots.accuracy_matrices(TASKS, {"a < b": MATRIX}),
    "accuracies": lambda: plots.accuracies(
        TASKS, [60.0, None, 83.0], {"fish": 65.4}
    ),
    "unpublished": lambda: plots.accuracies({"fish": 1}, [None]),
    "learning_curves": lambda: plots.learning_curves(RECORDS),
    "routing_weights": lambda: plots.routing_weights(TASKS, ROUTING),
    "size": lambda: plots.size(RECORDS),
    "one_task": lambda: plots.size(RECORDS[:1]),
}


def texts(svg):
    """Return all texts of an SVG, with runs of spaces made one."""
    root = ElementTree.fromstring(svg)  # noqa: S314, our own output
    return [
        " ".join(element.text.split())
        for element in root.iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_is_one_reproducible_svg(name):
    svg = DRAWN[name]()
    assert svg.startswith("<svg ")
    assert svg == DRAWN[name]()
    assert "<?xml" not in svg
    assert "<metadata" not in svg
    assert "<image" not in svg
    assert "currentColor" in svg
    assert texts(svg)


def test_is_the_same_in_another_process():
    code = (
        "import sys\nfrom tests.evaluation.test_plots import DRAWN\n"
        "for draw in DRAWN.values():\n"
        "    sys.stdout.buffer.write(draw().encode())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }
    assert outputs == {"".join(draw() for draw in DRAWN.values()).encode()}


def test_leaves_the_users_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    DRAWN["size"]()
    assert dict(matplotlib.rcParams) == before


def test_ignores_the_users_settings():
    import matplotlib

    expected = DRAWN["size"]()
    with matplotlib.rc_context({"axes.grid": True, "lines.linewidth": 9}):
        assert DRAWN["size"]() == expected


def test_matrix_has_names_numbers_and_values():
    found = texts(DRAWN["matrices"]())
    for text in ("a < b", "fish 1", "$a$ <b> & 'c' 2", "花 4", "61.5", "83.0"):
        assert text in found
    assert found.count("61.5") == 2


def test_large_matrix_has_no_values():
    tasks = {f"task{number}": number for number in range(1, 12)}
    matrix = [
        [12.5 if n <= row else None for n in range(11)] for row in range(11)
    ]
    svg = plots.accuracy_matrices(tasks, {"": matrix})
    assert "12.5" not in texts(svg)
    assert "task11 11" in texts(svg)


def test_unknown_matrix_is_empty():
    svg = plots.accuracy_matrices({"fish": 1}, {"": [[None]]})
    assert "fish 1" in texts(svg)


def test_published_row_may_be_absent():
    assert "published" in texts(DRAWN["accuracies"]())
    assert "published" not in texts(DRAWN["unpublished"]())


def test_learning_curves_follow_the_phases():
    found = texts(DRAWN["learning_curves"]())
    assert {"training", "validation", "1 fish", "4 花"} <= set(found)
    fish = plots._curves(RECORDS[0])
    assert [(name, start) for name, start, _ in fish] == [
        ("training", 0),
        ("validation", 0),
        ("training", 2),
    ]
    assert list(fish[1][2]) == [20.0, 45.0]


def test_routing_weights_have_a_panel_a_layer():
    found = texts(DRAWN["routing_weights"]())
    for text in ("conv1", "conv2", "0.38", "0.50", "0.62"):
        assert text in found


def test_long_names_are_cut():
    svg = plots.accuracies({"x" * 300: 1}, [50.0])
    assert max(map(len, texts(svg))) < 40


def test_no_two_plots_share_an_id():
    identifiers = [
        found
        for name in ("matrices", "accuracies", "learning_curves", "size")
        for found in re.findall(r' id="([^"]*)"', DRAWN[name]())
    ]
    assert len(identifiers) == len(set(identifiers)) > 0
