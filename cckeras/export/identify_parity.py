"""How a file finds task and class, beside the networks and beside Keras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cckeras.data.sources import Split, TaskData
from cckeras.evaluation.answers import answer, answering_model
from cckeras.evaluation.task_free import DEFAULT_RULE, rule
from cckeras.export.answers import BATCH, static_answers
from cckeras.export.identify import CANDIDATES, Finder
from cckeras.export.runtime import ExportedTasks
from cckeras.methods.base import Method

# Test images of each task.
IMAGES = 100


@dataclass(frozen=True)
class Found:
    """How the signature without a task compares.

    Args:
        images: how many test images.
        difference: the largest of a probability to that of the networks which
            the file holds; or by which its answer is not the likeliest.
        accuracy, task_accuracy: percent with the right class, the right task.
        rule: the rule over all tasks' Keras networks.
        rule_accuracy: percent with the right class by it.
    """

    images: int
    difference: float
    accuracy: float | None
    task_accuracy: float | None
    rule: str
    rule_accuracy: float | None


def compare_identify(
    opened: ExportedTasks,
    finder: Finder,
    method: Method,
    data: dict[str, TaskData],
) -> Found:
    """Compare on test images of every task.

    Args:
        opened: the file.
        finder: that of the file.
        method: the run's networks.
        data: `{task: its images}`.
    """
    names = list(finder.layers)
    tests = [data[name].test for name in names]
    images = [split.read_spread(IMAGES) for split in tests if len(split)]
    if not images:
        return Found(0, 0.0, None, None, DEFAULT_RULE, None)
    images = np.concatenate(images)
    tasks, classes = _labels(tests)
    found = [opened.identify(image) for image in images]
    task = np.array([names.index(name) for name, _, _ in found])
    own = np.array(
        [opened.tasks[name]["classes"].index(label) for name, label, _ in found]
    )
    probability = np.array([value for _, _, value in found])
    gate = finder.gate
    scores = _scores(gate, images)
    joint = _joint(finder, scores, images)
    stated = joint[np.arange(len(images)), task, own]
    differences = (
        np.abs(probability - stated),
        joint.max((1, 2)) - stated,
    )
    starts = np.cumsum([0, *(len(data[name].classes) for name in names)])
    answers = [
        answer(answering_model(method.task_model(name)), _batches(images))
        for name in names
    ]
    answers = [
        own._replace(gate=part)
        for own, part in zip(answers, gate.numbers.by_task(scores), strict=True)
    ]
    ruled = rule(DEFAULT_RULE)(answers)
    right_task = task == tasks
    return Found(
        len(images),
        float(np.max(differences)),
        _percent(right_task & (own == classes)),
        _percent(right_task),
        DEFAULT_RULE,
        _percent(ruled == starts[tasks] + classes),
    )


def _labels(tests: list[Split]):
    tasks, classes = [], []
    for number, split in enumerate(tests):
        labels = split.labels_spread(IMAGES)
        classes += list(labels)
        tasks += [number] * len(labels)
    return np.array(tasks), np.array(classes)


def _batches(images):
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _joint(finder, scores, images):
    """Return probabilities `[N, tasks, classes]`; zero for what is no
    candidate, or no class."""
    gate, layers = finder.gate, list(finder.layers.values())
    logs = np.full(
        (len(images), len(layers), max(gate.numbers.counts)), -np.inf
    )
    likely = np.zeros(logs.shape[:2])
    by_task = gate.numbers.by_task(scores)
    for number, (own, gated) in enumerate(zip(layers, by_task, strict=True)):
        likely[:, number] = np.logaddexp.reduce(gated, 1)
        with np.errstate(divide="ignore"):  # A probability may be zero.
            answers = np.log(static_answers(gate.source, own)(images))
        logs[:, number, : gated.shape[1]] = gated + answers
    least = np.sort(likely, 1)[:, -CANDIDATES:][:, :1]
    logs[likely < least] = -np.inf
    joint = np.exp(logs - logs.max((1, 2), keepdims=True))
    return joint / joint.sum((1, 2), keepdims=True)


def _scores(gate, images):
    return np.concatenate(
        [gate.scores(tf.constant(part)).numpy() for part in _batches(images)]
    )


def _percent(right):
    return 100 * float(np.mean(right))
