"""The rules that find a task, on logits made by hand, and slow loops."""

import math

import numpy as np
import pytest

from cckeras.errors import InputError
from cckeras.evaluation.answers import Answers
from cckeras.evaluation.task_free import (
    DEFAULT_RULE,
    RULES,
    WITHOUT_STATISTICS,
    agreed,
    calibrated,
    energy,
    entropy,
    gated,
    max_logit,
    max_probability,
    probabilities,
    published,
    rule,
    task_of_class,
)
from cckeras.layers.initializers import FanInUniform


def answers_of(*logits, width=3):
    return [
        Answers(
            np.array(own, np.float32),
            np.zeros((len(own), width), np.float32),
        )
        for own in logits
    ]


def random_answers(rng, counts, images=7, width=5):
    return [
        Answers(
            rng.normal(0, 3, (images, count)).astype(np.float32),
            rng.normal(0, 3, (images, width)).astype(np.float32),
            rng.normal(0, 3, (images, count)),
            rng.uniform(0.5, 4),
        )
        for count in counts
    ]


def test_max_logit_takes_the_largest_of_all_tasks():
    answers = answers_of([[5, 4], [0, 1]], [[3, -3, 2], [0.5, 2, 1.5]])
    assert max_logit(answers).tolist() == [0, 3]


def test_max_probability_takes_the_surest_task():
    # 5 of (5, 4) is likely by 0.73, 3 of (3, -3) by 0.998.
    answers = answers_of([[5, 4], [0, 6]], [[3, -3], [4, -4]])
    assert max_probability(answers).tolist() == [2, 2]
    assert max_logit(answers).tolist() == [0, 1]


def test_a_shift_of_a_task_matters_to_max_logit_alone():
    low = answers_of([[1, 0]], [[0, 3]])
    high = answers_of([[101, 100]], [[0, 3]])
    assert max_logit(low).tolist() == [3]
    assert max_logit(high).tolist() == [0]
    assert max_probability(low).tolist() == max_probability(high).tolist()


def test_ties_go_to_the_first_class():
    answers = answers_of([[1, 1]], [[1, 1]])
    for name in ("max_logit", "max_probability"):
        assert RULES[name](answers).tolist() == [0]


@pytest.mark.parametrize("name", ["max_logit", "max_probability"])
def test_slow_loops_agree(rng, name):
    answers = random_answers(rng, [2, 3, 4], images=30)
    expected = []
    for image in range(30):
        best, number = -math.inf, 0
        for own in answers:
            row = [float(value) for value in own.logits[image]]
            total = sum(math.exp(value) for value in row)
            for value in row:
                score = value
                if name == "max_probability":
                    score = math.exp(value) / total
                if score > best:
                    best, winner = score, number
                number += 1
        expected.append(winner)
    assert RULES[name](answers, seed=5).tolist() == expected


def test_the_gate_decides_where_tasks_are_equally_sure():
    answers = answers_of([[5, 0], [5, 0]], [[0, 5], [0, 5]])
    # Of the gate's own classes, `gated` adds up the task's.
    scores = ([[0.0, 0.0], [1.0, 0.9]], [[-9.0, 1.0], [0.0, 0.0]])
    scored = [
        own._replace(gate=np.array(part))
        for own, part in zip(answers, scores, strict=True)
    ]
    assert gated(scored).tolist() == [3, 0]
    assert agreed(scored).tolist() == [3, 0]


def test_a_gate_that_knows_the_class_may_overrule_the_network():
    (own,) = answers_of([[1, 0]])
    own = own._replace(gate=np.log([[0.1, 0.9]]))
    assert gated([own]).tolist() == [0]
    assert agreed([own]).tolist() == [1]


def test_a_temperature_makes_a_task_less_sure():
    answers = answers_of([[6, 0]], [[0, 4]])
    assert calibrated(answers).tolist() == [0]
    hot = [answers[0]._replace(temperature=3.0), answers[1]]
    assert calibrated(hot).tolist() == [3]
    assert max_probability(hot).tolist() == [0]


@pytest.mark.parametrize(
    "rule_of", [entropy, energy, calibrated, gated, agreed]
)
def test_slow_loops_over_tasks_agree(rng, rule_of):
    answers = random_answers(rng, [2, 3, 4], images=40)
    expected = []
    for image in range(40):
        best = -math.inf
        number = 0
        for own in answers:
            row = [float(value) for value in own.logits[image]]
            if rule_of is calibrated:
                row = [value / own.temperature for value in row]
            total = sum(math.exp(value) for value in row)
            shares = [math.exp(value) / total for value in row]
            scores = {
                entropy: [
                    sum(p * math.log(p) for p in shares) / math.log(len(row))
                ],
                energy: [math.log(total)],
                calibrated: shares,
                gated: [
                    p * sum(math.exp(g) for g in own.gate[image])
                    for p in shares
                ],
                agreed: [
                    p * math.exp(g)
                    for p, g in zip(shares, own.gate[image], strict=True)
                ],
            }[rule_of]
            place = scores.index(max(scores))
            if scores[place] > best:
                best = scores[place]
                if len(scores) == 1:
                    place = shares.index(max(shares))
                winner = number + place
            number += len(row)
        expected.append(winner)
    assert rule_of(answers).tolist() == expected


@pytest.mark.parametrize("seed", [0, 3])
def test_published_agrees_with_a_slow_loop(rng, seed):
    counts, width = [2, 4, 3], 5
    answers = random_answers(rng, counts, images=40, width=width)
    rows = []
    for number in range(3):
        kernel, bias = (
            np.array(FanInUniform([seed, number, part], width)(shape))
            for part, shape in (("kernel", (width, 9)), ("bias", (9,)))
        )
        rows.append((kernel.astype(float), bias.astype(float)))
    expected = []
    for image in range(40):
        best = -math.inf
        for number, own in enumerate(answers):
            first = sum(counts[:number])
            kernel, bias = rows[number]
            for label in range(9):
                if first <= label < first + counts[number]:
                    logit = float(own.logits[image][label - first])
                else:
                    logit = bias[label]
                    for place in range(width):
                        logit += (
                            float(own.features[image][place])
                            * kernel[place][label]
                        )
                if logit > best:
                    best, winner = logit, label
        expected.append(winner)
    found = published(answers, seed).tolist()
    assert found == expected
    # The random rows do something, and do not do everything.
    plain = max_logit(answers).tolist()
    assert 0 < sum(a != b for a, b in zip(found, plain, strict=True)) < 40


def test_published_is_repeated_by_its_seed_alone(rng):
    answers = random_answers(rng, [2, 2, 2], images=200)
    first = published(answers, 1)
    assert np.array_equal(published(answers, 1), first)
    assert not np.array_equal(published(answers, 2), first)
    for some in (slice(0, 50), slice(50, 200)):
        part = [own.rows(some.start, some.stop) for own in answers]
        assert np.array_equal(published(part, 1), first[some])


def test_random_rows_lose_against_sure_answers(rng):
    answers = random_answers(rng, [2, 3])
    sure = [own._replace(logits=own.logits + 1e6) for own in answers]
    assert published(sure).tolist() == max_logit(sure).tolist()
    unsure = [own._replace(logits=own.logits - 1e6) for own in answers]
    # Every own row loses: only another task's block is left to win.
    assert task_of_class([2, 3], published(unsure)).shape == (7,)
    assert published(unsure).tolist() != max_logit(unsure).tolist()


def test_rules_leave_the_answers_as_they_are(rng):
    answers = random_answers(rng, [2, 3])
    kept = [[np.copy(part) for part in own] for own in answers]
    for find in RULES.values():
        classes = find(answers, 0)
        assert classes.shape == (7,)
        assert classes.dtype.kind == "i"
    for own, parts in zip(answers, kept, strict=True):
        for part, before in zip(own, parts, strict=True):
            assert np.array_equal(part, before)


def test_one_task_alone(rng):
    (own,) = random_answers(rng, [4])
    expected = own.logits.argmax(1)
    for find in set(RULES.values()) - {agreed}:
        assert np.array_equal(find([own], 0), expected)
    even = own._replace(gate=np.zeros((7, 4)))
    assert np.array_equal(agreed([even]), expected)


def test_task_of_class():
    classes = np.arange(6)
    assert task_of_class([2, 3, 1], classes).tolist() == [0, 0, 1, 1, 1, 2]
    assert task_of_class([6], classes).tolist() == [0] * 6


def test_probabilities_of_large_logits():
    logits = np.array(
        [[1e4, 1e4], [-1e4, 0], [3e38, -3e38], [-3e38, -3e38]], np.float32
    )
    expected = [[0.5, 0.5], [0, 1], [1, 0], [0.5, 0.5]]
    with np.errstate(over="ignore", under="ignore"):
        assert probabilities(logits).tolist() == expected


def test_probabilities_sum_to_one_and_forget_a_shift(rng):
    logits = rng.normal(0, 5, (20, 6))
    shares = probabilities(logits)
    assert shares.sum(1) == pytest.approx(np.ones(20))
    assert probabilities(logits + 123) == pytest.approx(shares)
    assert np.array_equal(shares.argmax(1), logits.argmax(1))


def test_rules_are_found_by_name():
    assert rule(DEFAULT_RULE) is agreed
    assert rule(WITHOUT_STATISTICS) is max_probability
    with pytest.raises(InputError, match=r"'max_logits'.*'max_logit'"):
        rule("max_logits")
