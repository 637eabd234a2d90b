"""Fixtures: small runs that are trained once and that no test may change."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from cckeras import train
from tests.command import Outcome, make_pictures, run

RECIPE = ("--config.epochs=2", "--config.decay_epochs=(1,)")


class SmallRun(NamedTuple):
    """A run of two tasks, and what training it wrote and said."""

    path: Path
    json: dict
    outcome: Outcome


def _train(folder, *arguments):
    path, report = folder / "run", folder / "train.json"
    outcome = run(
        train.main, f"--run_dir={path}", f"--json={report}", *arguments
    )
    assert outcome.code == 0, outcome.error
    return SmallRun(path, json.loads(report.read_text()), outcome)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """Two tasks of digits5, `zero_one` and `two_three`, two epochs each."""
    return _train(
        tmp_path_factory.mktemp("digits_run"),
        "--benchmark=digits5",
        "--tasks=zero_one,two_three",
        *RECIPE,
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A data folder with the tasks `cats` and `dogs` of two classes each."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder / "cats")
    make_pictures(folder / "dogs")
    return folder
