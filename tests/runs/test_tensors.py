"""A task's file holds what the task owns: no more, no less, every bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cckeras.ownership import Ownership
from cckeras.runs.tensors import WHERE, pack, unpack

SHAPES = {"a/kernel": (3, 5), "a/scale": (), "b/bias": (4,)}
TYPES = {"a/kernel": np.float32, "a/scale": np.float32, "b/bias": np.int32}
TASKS = (1, 2)


@st.composite
def ledgers(draw):
    ledger = Ownership()
    for name, shape in SHAPES.items():
        ledger.add(name, shape)
        owner = draw(
            st.just(np.ones(shape, int)) | arrays(int, shape, elements=OWNERS)
        )
        for task in TASKS:
            ledger.claim(name, task, owner == task)
    return ledger


OWNERS = st.integers(0, max(TASKS))


@st.composite
def any_values(draw):
    """Draw values of every kind of bits, NaNs and infinities among them."""
    return {
        name: draw(arrays(np.uint32, shape)).view(TYPES[name])
        for name, shape in SHAPES.items()
    }


@given(ledgers(), any_values(), any_values())
def test_round_trip_keeps_every_owned_bit_and_current_other_values(
    ledger, values, current
):
    for task in TASKS:
        found = unpack(ledger, task, pack(ledger, task, values), current)
        assert sorted(found) == sorted(ledger.owned(task))
        for name, array in found.items():
            mask = np.broadcast_to(ledger.mask(name, task), SHAPES[name])
            expected = np.where(
                mask,
                values[name].view(np.uint32),
                current[name].view(np.uint32),
            )
            assert array.dtype == TYPES[name]
            np.testing.assert_array_equal(array.view(np.uint32), expected)


@given(ledgers(), any_values())
def test_a_file_holds_owned_elements_and_nothing_else(ledger, values):
    for task in TASKS:
        stored = load(pack(ledger, task, values))
        numbers = [
            array.size
            for name, array in stored.items()
            if not name.endswith(WHERE)
        ]
        assert sum(numbers) == ledger.size(task)


@given(ledgers(), any_values())
def test_current_values_are_not_changed(ledger, values):
    current = {name: np.zeros(SHAPES[name], TYPES[name]) for name in SHAPES}
    for task in TASKS:
        unpack(ledger, task, pack(ledger, task, values), current)
    assert all(not array.any() for array in current.values())


PART = np.array([True, False, True, True])


@pytest.fixture
def ledger():
    """Task 1 owns all of `whole` and three elements of `part`."""
    ledger = Ownership()
    for name in ("whole", "part"):
        ledger.add(name, (4,))
    ledger.claim("whole", 1)
    ledger.claim("part", 1, PART)
    ledger.claim("part", 2, ~PART)
    return ledger


@pytest.fixture
def values():
    return {name: np.zeros(4, np.float32) for name in ("whole", "part")}


GOOD = {
    "whole": np.ones(4, np.float32),
    "part": np.ones(3, np.float32),
    "part" + WHERE: np.packbits(PART),
}


def changed(**tensors):
    """Return the good file with some tensors replaced, or left out if None."""
    tensors = {
        name.replace("_where", WHERE): tensor
        for name, tensor in tensors.items()
    }
    merged = {**GOOD, **tensors}
    return save({k: v for k, v in merged.items() if v is not None})


def test_the_good_file_is_good(ledger, values):
    found = unpack(ledger, 1, changed(), values)
    np.testing.assert_array_equal(found["whole"], np.ones(4))
    np.testing.assert_array_equal(found["part"], [1, 0, 1, 1])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"whole": None}, "'whole' is missing"),
        ({"part": None}, "'part' is missing"),
        ({"more": np.ones(2, np.float32)}, "'more' is unknown"),
        (
            {"whole_where": np.packbits(np.ones(4, bool))},
            f"'whole{WHERE}' is unknown",
        ),
        ({"part_where": None}, "elements of 'part' differ"),
        ({"part_where": np.packbits(~PART)}, "elements of 'part' differ"),
        ({"whole": np.ones(3, np.float32)}, r"'whole'.*\(4,\).*\(3,\)"),
        ({"whole": np.ones((4, 1), np.float32)}, r"'whole'.*\(4,\).*\(4, 1\)"),
        ({"part": np.ones(4, np.float32)}, r"'part'.*\(3,\).*\(4,\)"),
        ({"part": np.ones(1, np.float32)}, r"'part'.*\(3,\).*\(1,\)"),
        ({"part": np.ones((1, 3), np.float32)}, r"'part'.*\(3,\).*\(1, 3\)"),
    ],
)
def test_a_file_of_something_else_is_an_error(ledger, values, changes, problem):
    with pytest.raises(ValueError, match=problem):
        unpack(ledger, 1, changed(**changes), values)


@pytest.mark.parametrize("length", [0, 7, 8, 60, -1])
def test_a_cut_file_is_an_error(ledger, values, length):
    with pytest.raises((ValueError, SafetensorError)):
        unpack(ledger, 1, changed()[:length], values)
