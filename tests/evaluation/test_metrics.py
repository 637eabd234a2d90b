"""Metrics against matrices worked out by hand, and slow loops."""

import numpy as np
import pytest

from cckeras.evaluation.metrics import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    standard_error,
)

# After task 2, task 1 fell by 10 and came back by 5; task 2 fell by 10.
BY_HAND = [
    [90.0, None, None],
    [80.0, 70.0, None],
    [85.0, 60.0, 75.0],
]


def test_by_hand():
    assert average_accuracy(BY_HAND) == pytest.approx((85 + 60 + 75) / 3)
    assert backward_transfer(BY_HAND) == pytest.approx((-5 - 10) / 2)
    assert forgetting(BY_HAND) == pytest.approx((5 + 10) / 2)


def test_forgetting_counts_from_the_best_and_transfer_from_the_first():
    rising = [[50.0, None, None], [80.0, 70.0, None], [60.0, 75.0, 10.0]]
    assert forgetting(rising) == pytest.approx((20 - 5) / 2)
    assert backward_transfer(rising) == pytest.approx((10 + 5) / 2)


def test_a_single_task_has_nothing_to_forget():
    assert average_accuracy([[62.5]]) == 62.5
    assert backward_transfer([[62.5]]) is None
    assert forgetting([[62.5]]) is None
    assert forward_transfer([62.5], [2]) is None


def test_nothing_above_the_diagonal_is_read(rng):
    matrix = rng.uniform(0, 100, (4, 4))
    emptied = [
        [None if column > row else matrix[row, column] for column in range(4)]
        for row in range(4)
    ]
    for metric in (average_accuracy, backward_transfer, forgetting):
        assert metric(emptied) == metric(matrix)


def test_slow_loops_agree(rng):
    for tasks in range(2, 8):
        matrix = rng.uniform(0, 100, (tasks, tasks))
        last = tasks - 1
        transfer = fall = 0.0
        for task in range(last):
            transfer += matrix[last][task] - matrix[task][task]
            best = 0.0
            for row in range(task, last):
                best = max(best, matrix[row][task])
            fall += best - matrix[last][task]
        assert backward_transfer(matrix) == pytest.approx(transfer / last)
        assert forgetting(matrix) == pytest.approx(fall / last)
        assert average_accuracy(matrix) == pytest.approx(
            sum(matrix[last]) / tasks
        )


def test_a_matrix_that_stays_forgets_nothing(rng):
    column = rng.uniform(0, 100, 5)
    matrix = np.broadcast_to(column, (5, 5))
    assert forgetting(matrix) == 0
    assert backward_transfer(matrix) == 0


def test_forward_transfer_is_what_chance_does_not_give():
    # Chance: 25 % of four classes, 20 % of five; the first task counts not.
    assert forward_transfer([99, 30, 40], [2, 4, 5]) == pytest.approx(12.5)
    assert forward_transfer([99, 25, 20], [2, 4, 5]) == pytest.approx(0)
    assert forward_transfer([99, None, 40], [2, 4, 5]) == pytest.approx(20)
    assert forward_transfer([99, None], [2, 4]) is None
    with pytest.raises(ValueError, match="zip"):
        forward_transfer([99, 30], [2])


def test_standard_error_by_hand():
    # sqrt(0.8 * 0.2 / 100 + 0.5 * 0.5 / 25) / 2
    assert standard_error([80, 50], [100, 25]) == pytest.approx(5.38516, 1e-5)
    assert standard_error([100, 0], [10, 10]) == 0


def test_standard_error_is_the_spread_over_test_sets(rng):
    shares, counts = np.array([0.9, 0.6, 0.75]), np.array([40, 90, 60])
    means = (rng.binomial(counts, shares, (20_000, 3)) / counts).mean(1)
    assert standard_error(100 * shares, counts) == pytest.approx(
        100 * means.std(), rel=0.03
    )
