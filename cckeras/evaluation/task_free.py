"""Rules that find task and class where no task label is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cckeras.errors import choose
from cckeras.evaluation.answers import Answers
from cckeras.layers.initializers import FanInUniform
from cckeras.runs.gate import log_softmax

DEFAULT_RULE = "agreed"
# Where there are no statistics of the tasks; those that need some.
WITHOUT_STATISTICS = "max_probability"
INFORMED = ("calibrated", "gated", "agreed")


def max_logit(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the class with the largest logit of all tasks.

    Args:
        answers: of every task, in order.
        seed: not used by this rule.

    Returns:
        int `[N]`, numbers of classes counted through all tasks.
    """
    del seed
    return np.argmax(np.concatenate([a.logits for a in answers], 1), 1)


def max_probability(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the class with the largest probability within its own task.

    Arguments and result as of `max_logit`.
    """
    del seed
    return np.argmax(
        np.concatenate([probabilities(a.logits) for a in answers], 1), 1
    )


def published(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return what the authors' evaluation does (methods.md 3.4).

    Every task's head is embedded in a layer for all classes whose other rows
    are random, never trained; the largest logit anywhere wins, so a random
    row can. Kept to reproduce the published figures.

    Args:
        answers: of every task, in order.
        seed: of the random rows.

    Returns:
        as of `max_logit`.
    """
    counts = [a.logits.shape[1] for a in answers]
    starts = np.cumsum([0, *counts])
    total = int(starts[-1])
    best = winner = None
    for number, own in enumerate(answers):
        width = own.features.shape[1]
        kernel, bias = (
            np.asarray(FanInUniform([seed, number, part], width)(shape))
            for part, shape in (("kernel", (width, total)), ("bias", (total,)))
        )
        logits = own.features @ kernel + bias
        logits[:, starts[number] : starts[number + 1]] = own.logits
        choice = np.argmax(logits, 1)
        value = np.take_along_axis(logits, choice[:, None], 1)[:, 0]
        if best is None:
            best, winner = value, choice
        else:
            winner = np.where(value > best, choice, winner)
            best = np.maximum(value, best)
    return winner


def entropy(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the likeliest class of the task whose probabilities have the
    least entropy, to the largest that its number of classes admits.

    Arguments and result as of `max_logit`.
    """
    del seed
    spread = []
    for own in answers:
        logs = log_softmax(own.logits)
        spread.append(-(np.exp(logs) * logs).sum(1) / np.log(logs.shape[1]))
    return _best_of_task(answers, -np.stack(spread, 1))


def energy(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the likeliest class of the task with the lowest energy: minus the
    logarithm of the sum of its logits' exponentials (Liu et al. 2020).

    Arguments and result as of `max_logit`.
    """
    del seed
    return _best_of_task(
        answers,
        np.stack([np.logaddexp.reduce(own.logits, 1) for own in answers], 1),
    )


def calibrated(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the class with the largest probability within its own task, whose
    logits are divided by the task's temperature (Guo et al. 2017).

    Arguments and result as of `max_logit`.
    """
    del seed
    shares = [probabilities(own.logits / own.temperature) for own in answers]
    return np.argmax(np.concatenate(shares, 1), 1)


def gated(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the class that is likeliest when a gate names the task: the
    task's probability by the gate, times the class' own within the task.

    Arguments and result as of `max_logit`.
    """
    del seed
    joint = [
        np.logaddexp.reduce(own.gate, 1)[:, None] + log_softmax(own.logits)
        for own in answers
    ]
    return np.argmax(np.concatenate(joint, 1), 1)


def agreed(answers: Sequence[Answers], seed: int = 0) -> np.ndarray:
    """Return the class on which the gate and its task's network agree most:
    its probability by the gate, times its own within the task.

    Arguments and result as of `max_logit`.
    """
    del seed
    joint = [own.gate + log_softmax(own.logits) for own in answers]
    return np.argmax(np.concatenate(joint, 1), 1)


RULES = {
    "published": published,
    "max_logit": max_logit,
    "max_probability": max_probability,
    "entropy": entropy,
    "energy": energy,
    "calibrated": calibrated,
    "gated": gated,
    "agreed": agreed,
}


def rule(name: str):
    """Return the rule of a name.

    Raises:
        InputError: if there is none of that name.
    """
    return RULES[choose("rule", name, RULES)]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def task_of_class(counts: Sequence[int], classes: np.ndarray) -> np.ndarray:
    """Return the number of the task, from 0, that each class belongs to.

    Args:
        counts: number of classes of each task.
        classes: int `[N]`, counted through all tasks.
    """
    return np.searchsorted(np.cumsum(counts), classes, side="right")


def _best_of_task(answers, scores):
    """Return the likeliest class of the task that scores best, `[N, tasks]`."""
    starts = np.cumsum([0, *(own.logits.shape[1] for own in answers)])
    classes = np.stack([np.argmax(own.logits, 1) for own in answers], 1)
    best = np.argmax(scores, 1)
    return starts[best] + classes[np.arange(len(best)), best]
