"""The ledger against a naive model of it: one owner number per element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cckeras.ownership import FREE, Ownership, OwnershipError

SHAPES = {"kernel": (2, 3), "bias": (3,), "scale": (), "unused": (0, 2)}
TASKS = (1, 2, 3)

names = st.sampled_from(sorted(SHAPES))


@st.composite
def steps(draw):
    """Draw a claim or a release of all or some elements of a variable."""
    name = draw(names)
    where = draw(st.none() | arrays(bool, SHAPES[name]))
    kind = draw(st.sampled_from(["claim", "claim", "release"]))
    return kind, name, draw(st.sampled_from(TASKS)), where


@st.composite
def owners(draw):
    """Draw the owner of every element of every variable."""
    numbers = st.integers(FREE, max(TASKS))
    return {
        name: draw(arrays(np.int32, shape, elements=numbers))
        for name, shape in SHAPES.items()
    }


def new_ledger(owner=None):
    ledger = Ownership()
    for name, shape in SHAPES.items():
        ledger.add(name, shape)
        for task in TASKS if owner else ():
            ledger.claim(name, task, owner[name] == task)
    return ledger


def owner_arrays(ledger):
    return {
        name: np.broadcast_to(ledger.owner(name), shape).copy()
        for name, shape in SHAPES.items()
    }


def assert_owners(ledger, expected):
    found = owner_arrays(ledger)
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], expected[name], name)


@given(st.lists(steps(), max_size=12))
def test_claims_and_releases_change_free_and_own_elements_only(sequence):
    ledger = new_ledger()
    expected = {name: np.zeros(SHAPES[name], int) for name in SHAPES}
    for kind, name, task, where in sequence:
        chosen = np.ones(SHAPES[name], bool) if where is None else where
        current = expected[name][chosen]
        if kind == "claim":
            allowed = np.isin(current, (FREE, task)).all()
        else:
            allowed = (current == task).all()
        change = getattr(ledger, kind)
        if allowed:
            change(name, task, where)
            expected[name][chosen] = task if kind == "claim" else FREE
        else:
            with pytest.raises(OwnershipError, match=name):
                change(name, task, where)
        assert_owners(ledger, expected)


@given(owners())
def test_masks_of_all_tasks_and_the_free_elements_partition(owner):
    ledger = new_ledger(owner)
    for name, shape in SHAPES.items():
        masks = [
            np.broadcast_to(ledger.mask(name, task), shape)
            for task in (FREE, *TASKS)
        ]
        np.testing.assert_array_equal(np.sum(masks, axis=0), np.ones(shape))


@given(owners())
def test_owned_holds_true_for_a_whole_variable_and_else_a_mask(owner):
    ledger = new_ledger(owner)
    for task in TASKS:
        owned = ledger.owned(task)
        for name in SHAPES:
            expected = owner[name] == task
            if not expected.any():
                assert name not in owned
            elif expected.all():
                assert owned[name] is True
            else:
                np.testing.assert_array_equal(owned[name], expected)


@given(owners())
def test_sizes_of_tasks_and_free_elements_add_up(owner):
    ledger = new_ledger(owner)
    sizes = {task: ledger.size(task) for task in (FREE, *TASKS)}
    for task, size in sizes.items():
        assert size == sum(
            (numbers == task).sum() for numbers in owner.values()
        )
    assert sum(sizes.values()) == sum(np.prod(s) for s in SHAPES.values())


@given(owners(), st.data())
def test_digest_depends_on_owned_elements_and_on_no_others(owner, data):
    ledger = new_ledger(owner)
    values = {
        name: data.draw(arrays(np.uint8, (*shape, 4))).view(np.float32)[..., 0]
        for name, shape in SHAPES.items()
    }
    before = {task: ledger.digest(task, values) for task in TASKS}
    name = data.draw(st.sampled_from(["kernel", "bias", "scale"]))
    place = tuple(data.draw(st.integers(0, size - 1)) for size in SHAPES[name])
    bits = values[name].view(np.uint32)
    bits[place] ^= 1 << data.draw(st.integers(0, 31))
    for task in TASKS:
        changed = ledger.digest(task, values) != before[task]
        assert changed == (owner[name][place] == task)


def test_digest_reads_only_what_the_task_owns():
    ledger = new_ledger()
    ledger.claim("bias", 1)
    values = {"bias": np.arange(3, dtype="float32")}
    assert len(ledger.digest(1, values)) == 64


def test_digest_tells_names_shapes_types_and_places_apart():
    digests = set()
    for name, shape, kind, where in (
        ("a", (4,), "float32", None),
        ("b", (4,), "float32", None),
        ("a", (2, 2), "float32", None),
        ("a", (4,), "int32", None),
        ("a", (4,), "float32", [True, True, False, False]),
        ("a", (4,), "float32", [False, False, True, True]),
    ):
        ledger = Ownership()
        ledger.add(name, shape)
        ledger.claim(name, 1, None if where is None else np.array(where))
        digests.add(ledger.digest(1, {name: np.zeros(shape, kind)}))
    assert len(digests) == 6


def test_numpy_task_numbers_mean_what_integers_mean():
    ledger = new_ledger()
    ledger.claim("kernel", np.int64(1))
    values = {"kernel": np.zeros((2, 3), "float32")}
    assert ledger.owned(np.int64(1)) == {"kernel": True}
    assert ledger.size(np.int64(1)) == ledger.size(1) == 6
    assert ledger.digest(np.int64(1), values) == ledger.digest(1, values)


def test_returned_owners_are_a_copy():
    ledger = new_ledger()
    ledger.claim("bias", 1, np.array([True, False, False]))
    ledger.owner("bias")[:] = 2
    ledger.mask("bias", 1)[:] = True
    np.testing.assert_array_equal(ledger.owner("bias"), [1, 0, 0])


def test_names_shapes_and_order_are_kept():
    ledger = new_ledger()
    assert list(ledger) == list(SHAPES)
    assert "bias" in ledger
    assert "other" not in ledger
    assert {name: ledger.shape(name) for name in ledger} == SHAPES


def test_a_name_can_be_added_once():
    with pytest.raises(OwnershipError, match=r"'bias'.* already"):
        new_ledger().add("bias", (3,))


@pytest.mark.parametrize(
    "use",
    [
        lambda ledger: ledger.claim("other", 1),
        lambda ledger: ledger.release("other", 1),
        lambda ledger: ledger.owner("other"),
        lambda ledger: ledger.mask("other", 1),
        lambda ledger: ledger.shape("other"),
    ],
)
def test_unknown_variables_are_named(use):
    with pytest.raises(OwnershipError, match="Received: 'other'"):
        use(new_ledger())


@pytest.mark.parametrize("task", [0, -1, 1.0, "1", None])
def test_only_positive_integers_can_claim(task):
    ledger = new_ledger()
    with pytest.raises(OwnershipError, match="task number of 1 or more"):
        ledger.claim("bias", task)
    assert ledger.owner("bias") == FREE


@pytest.mark.parametrize(
    "where", [np.ones(4, bool), np.ones(3, int), np.ones((1, 3), bool)]
)
def test_masks_must_be_boolean_and_of_the_variable_s_shape(where):
    ledger = new_ledger()
    for change in (ledger.claim, ledger.release):
        with pytest.raises(OwnershipError, match=r"shape \(3,\) for 'bias'"):
            change("bias", 1, where)
    assert ledger.owner("bias") == FREE


def test_an_error_says_how_many_elements_belong_to_whom():
    ledger = new_ledger()
    ledger.claim("bias", 2, np.array([True, True, False]))
    with pytest.raises(
        OwnershipError, match="2 elements that belong to task 2"
    ):
        ledger.claim("bias", 3)
