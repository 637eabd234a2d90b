"""Discriminant analysis of the classes of several tasks."""

import numpy as np
import pytest

from cckeras.runs import gate
from cckeras.runs.gate import (
    NEVER,
    Discriminants,
    log_softmax,
    make_gate,
)


def tasks_of(rng, classes=(2, 3), size=7, count=60, noise=1.0):
    """Return `(seen, labels, discriminants)` of tasks, spread unevenly."""
    spread = rng.normal(0, noise, (size, size))
    found = []
    for number in classes:
        labels = rng.integers(0, number, count)
        labels[:number] = np.arange(number)
        centres = rng.normal(0, 2, (number, size))
        seen = centres[labels] + rng.normal(size=(count, size)) @ spread
        first = found[0][2] if found else None
        fitted = Discriminants.fit(seen, labels, number, first)
        found.append((seen, labels, fitted))
    return found


def test_a_gate_is_a_linear_discriminant_analysis(rng):
    tasks = tasks_of(rng)
    made = make_gate([found for _, _, found in tasks], 0.01, 2.0)
    first = tasks[0][2]
    seen = np.concatenate([seen for seen, _, _ in tasks])
    seen = (seen - first.centre) / first.scale
    labels = np.concatenate([tasks[0][1], 2 + tasks[1][1]])
    means = [seen[labels == label].mean(0) for label in range(5)]
    covariance = np.zeros((7, 7))
    for x, label in zip(seen, labels, strict=True):
        covariance += np.outer(x - means[label], x - means[label]) / len(seen)
    covariance += 0.01 * np.trace(covariance) / 7 * np.eye(7)
    inverse = np.linalg.inv(covariance)
    expected = np.array(
        [[-0.5 * (x - m) @ inverse @ (x - m) / 2 for m in means] for x in seen]
    )
    scores = made.scores(seen * first.scale + first.centre)
    assert made.counts == (2, 3)
    # What is common to all classes does not matter.
    np.testing.assert_allclose(
        log_softmax(scores), log_softmax(expected), atol=1e-3
    )


def test_logarithms_of_softmax(rng):
    scores = rng.normal(0, 5, (20, 6))
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(log_softmax(scores), np.log(shares))
    assert log_softmax(np.array([[3e4, -3e4]])).tolist() == [[0.0, -6e4]]


def test_probabilities_are_handed_out_by_task(rng):
    tasks = tasks_of(rng, (2, 3, 1))
    made = make_gate([found for _, _, found in tasks], 0.01)
    parts = made.by_task(made.scores(tasks[1][0]))
    assert [part.shape for part in parts] == [(60, 2), (60, 3), (60, 1)]
    shares = np.exp(np.concatenate(parts, 1))
    np.testing.assert_allclose(shares.sum(1), 1)


def test_a_class_without_images_is_never_named(rng):
    seen = rng.normal(size=(40, 5))
    labels = 2 * rng.integers(0, 2, 40)
    found = Discriminants.fit(seen, labels, 4)
    made = make_gate([found], 0.01)
    assert made.bias[[1, 3]].tolist() == [NEVER] * 2
    assert set(made.scores(seen).argmax(1)) <= {0, 2}


def test_a_number_that_is_always_equal_does_no_harm(rng):
    dark = Discriminants.fit(np.zeros((30, 5)), np.arange(30) % 2, 2)
    seen = rng.normal(size=(30, 5)) + 3
    bright = Discriminants.fit(seen, np.arange(30) % 2, 2, dark)
    scores = make_gate([dark, bright], 0.01).scores(seen)
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) >= 2).all()
    assert np.isfinite(make_gate([dark], 0.01).scores(seen)).all()


def test_many_numbers_are_mixed_into_fewer(rng, monkeypatch):
    wide = tasks_of(rng, (3, 3), size=200, count=400, noise=0.3)
    exact = make_gate([found for _, _, found in wide], 0.01)
    monkeypatch.setattr(gate, "DIMENSIONS", 64)
    mixed = [
        Discriminants.fit(seen, labels, 3, wide[0][2])
        for seen, labels, _ in wide
    ]
    assert mixed[1].means.shape == (3, 64)
    made = make_gate(mixed, 0.01)
    assert made.kernel.shape == exact.kernel.shape == (200, 6)
    for place, (seen, labels, _) in enumerate(wide):
        right = made.scores(seen).argmax(1) == labels + 3 * place
        assert right.mean() > 0.8
    # The same mixture in every process, of every version.
    assert (gate._signs(200)[0, :8] > 0).tolist() == [
        True, False, True, False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["scale", "means", "scatter", "counts"])
def test_shapes_belong_together(rng, part):
    (_, _, found), *_ = tasks_of(rng)
    found.check()
    wrong = found._replace(**{part: getattr(found, part)[1:]})
    with pytest.raises(ValueError, match="shapes"):
        wrong.check()


def test_their_number_is_known_before(rng):
    (_, _, found), *_ = tasks_of(rng)
    assert Discriminants.size(7, 2) == sum(part.size for part in found)
