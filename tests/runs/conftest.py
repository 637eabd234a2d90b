"""The small run that tests share."""

import pytest

from tests.runs.small import small_run


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """The folder of a run that learned two tasks. Do not change it: copy it."""
    return small_run(tmp_path_factory.getbasetemp())
