"""What all tests share: a quiet Keras on the CPU, and Hypothesis' settings."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from unittest import mock

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "cckeras",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
)
hypothesis.settings.load_profile("cckeras")


def pytest_configure(config):
    # Keras' variables have an `__array__` of NumPy 1's form.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:__array__ implementation doesn't accept:DeprecationWarning",
    )


@pytest.fixture
def rng():
    """A generator of random numbers, the same ones in every run."""
    import numpy as np

    return np.random.default_rng(2020)


@pytest.fixture(autouse=True, scope="session")
def _small_pictures():
    """Recipes for pictures are those without the extra of ImageNet weights,
    whose network would take minutes to train."""
    with mock.patch(
        "cckeras.configs.image_folder.installed", return_value=False
    ):
        yield
