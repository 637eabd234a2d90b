"""Metrics of an accuracy matrix, in the field's definitions."""

from __future__ import annotations

import math

import numpy as np


def average_accuracy(matrix) -> float:
    """Return the mean of the last row: after the last task, over all tasks.

    Args:
        matrix: `[T, T]` in percent; `matrix[i][j]` is the accuracy on task j
            after learning task i, and is not read for j > i.
    """
    return float(np.mean(np.asarray(matrix, float)[-1]))


def backward_transfer(matrix) -> float | None:
    """Return the mean change of a task's accuracy since it was learned.

    Lopez-Paz and Ranzato 2017; in points, None for a single task.
    """
    matrix = np.asarray(matrix, float)
    if len(matrix) < 2:
        return None
    return float(np.mean(matrix[-1, :-1] - np.diagonal(matrix)[:-1]))


def forgetting(matrix) -> float | None:
    """Return the mean fall from a task's best earlier accuracy to its last.

    Chaudhry et al. 2018; in points, None for a single task.
    """
    matrix = np.asarray(matrix, float)
    tasks = len(matrix)
    if tasks < 2:
        return None
    falls = [
        np.max(matrix[task : tasks - 1, task]) - matrix[-1, task]
        for task in range(tasks - 1)
    ]
    return float(np.mean(falls))


def forward_transfer(before, classes) -> float | None:
    """Return the mean accuracy before training, less that of chance.

    Lopez-Paz and Ranzato 2017; in points, None for a single task.

    Args:
        before: accuracy in percent of each task before it was trained, when
            its network stood on the earlier tasks.
        classes: number of classes of each task.
    """
    gains = [
        accuracy - 100 / count
        for accuracy, count in list(zip(before, classes, strict=True))[1:]
        if accuracy is not None
    ]
    return float(np.mean(gains)) if gains else None


def total_gain(accuracies, reference) -> float:
    """Return the sum of the differences to a reference, in points.

    Tu, Wu and Chen 2020 take finetuning's accuracies, and leave out the first
    task, whose network is given.

    Args:
        accuracies: in percent, one a task, of the tasks after the first.
        reference: the same of the reference.
    """
    return float(np.sum(np.asarray(accuracies) - np.asarray(reference)))


def standard_error(accuracies, counts) -> float:
    """Return the standard error of an average accuracy, in points.

    Only what the finite test sets contribute, not the spread over seeds.

    Args:
        accuracies: in percent, one a task.
        counts: number of test images of each task.
    """
    shares = np.asarray(accuracies, float) / 100
    variances = shares * (1 - shares) / np.asarray(counts, float)
    return 100 * math.sqrt(float(np.sum(variances))) / len(shares)
