"""FanInUniform: bounds, and the same numbers everywhere."""

import hashlib

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cckeras.layers.initializers import FanInUniform
from tests.backend import array

# Of the seed [0, "digits", "conv1/kernel"] and the shape (3, 3, 3, 8).
KNOWN = "29f8fdda93db870e7983931210085c2d42bc771477f5fda396dcb811c40b1d30"

seeds = st.lists(st.integers(0, 2**40) | st.text(), min_size=1, max_size=4)


@given(seeds, st.integers(1, 400))
def test_values_lie_within_one_over_the_root_of_fan_in(seed, fan_in):
    values = array(FanInUniform(seed, fan_in)((1000,)))
    limit = 1 / np.sqrt(fan_in)
    assert values.dtype == np.float32
    assert np.abs(values).max() <= np.float32(limit)
    # Uniform: the mean's deviation is limit / sqrt(3000), here five times.
    assert abs(values.mean()) < 5 * limit / np.sqrt(3000)
    np.testing.assert_allclose(values.std(), limit / np.sqrt(3), rtol=0.1)


@pytest.mark.parametrize(
    ("shape", "fan_in"), [((3, 3, 4, 7), 36), ((5, 6), 5), ((1, 1, 2, 3), 2)]
)
def test_fan_in_is_all_but_the_last_axis(shape, fan_in):
    found = array(FanInUniform(0)(shape))
    expected = array(FanInUniform(0, fan_in)(shape))
    np.testing.assert_array_equal(found, expected)


@given(seeds)
def test_equal_seeds_give_equal_values(seed):
    first, again = FanInUniform(seed)((3, 2)), FanInUniform(seed)((3, 2))
    np.testing.assert_array_equal(array(first), array(again))


def test_different_seeds_give_different_values():
    found = {
        array(FanInUniform(seed)((4, 4))).tobytes()
        for seed in (
            0,
            1,
            [0, 1],
            [0, "a"],
            [0, "b"],
            ["a"],
            [0, "a", "kernel"],
        )
    }
    assert len(found) == 7


def test_known_values_are_the_same_on_every_backend_and_machine():
    values = array(FanInUniform([0, "digits", "conv1/kernel"])((3, 3, 3, 8)))
    digest = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
    assert digest == KNOWN


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_type_is_the_one_asked_for(dtype):
    values = FanInUniform(0)((2, 3), dtype)
    assert keras.backend.standardize_dtype(values.dtype) == dtype


def test_config_round_trip():
    first = FanInUniform([3, "a"], 12)
    config = keras.initializers.serialize(first)
    again = keras.initializers.deserialize(config)
    np.testing.assert_array_equal(array(first((4,))), array(again((4,))))
    assert again.get_config() == {"seed": [3, "a"], "fan_in": 12}
