"""`evaluate_run` on a small run, against loops over its networks."""

from dataclasses import replace

import numpy as np
import pytest

from cckeras.benchmarks import benchmark
from cckeras.data.sources import ArrayImages, Split
from cckeras.errors import InputError
from cckeras.evaluation.answers import Answers, answering_model, informed
from cckeras.evaluation.evaluation import evaluate_run
from cckeras.evaluation.routing import routing_statistics
from cckeras.evaluation.task_free import RULES, task_of_class
from cckeras.runs.run import Run
from cckeras.runs.seeing import see, seeing_model
from cckeras.runs.statistics import gate_of, stored_statistics
from cckeras.schemas import check_schema

pytest_plugins = ("tests.small_run",)

NAMES = ["zero_one", "two_three"]


@pytest.fixture(scope="module")
def loaded(digits_run):
    run = Run.open(digits_run.path)
    return run, run.load(), benchmark("digits5")(run.config)


@pytest.fixture(scope="module")
def result(loaded):
    return evaluate_run(*loaded)


def changed(tasks, name, change):
    """Return a benchmark whose task has its data changed."""

    def load(asked):
        data = tasks.load(asked)
        return change(data) if asked == name else data

    return replace(tasks, load=load)


def test_the_matrix_has_a_row_for_each_task_learned(loaded, result):
    run, method, tasks = loaded
    check_schema("evaluate", result, "result")
    assert result["tasks"] == NAMES
    assert result["changed_data"] == []
    right = []
    for name in NAMES:
        test = tasks.load(name).test
        images = test.images.read(np.arange(len(test))).astype(np.float32)
        logits = np.asarray(method.task_model(name)(images, training=False))
        right.append(100 * np.mean(logits.argmax(1) == test.labels))
    labelled = result["task_incremental"]
    (first, above), (below, last) = labelled["matrix"]
    assert above is None
    assert first == below == pytest.approx(right[0], abs=1e-4)
    assert last == pytest.approx(right[1], abs=1e-4)
    assert labelled["accuracies"] == [below, last]
    assert labelled["average_accuracy"] == pytest.approx(np.mean(right), 1e-6)
    assert [run.record(name)["metrics"]["test_accuracy"] for name in NAMES] == [
        first,
        last,
    ]


def test_nothing_is_forgotten(result):
    labelled = result["task_incremental"]
    assert labelled["forgetting"] == 0
    assert labelled["backward_transfer"] == 0


def test_forward_transfer_and_standard_error(loaded, result):
    run, _, tasks = loaded
    before = run.record("two_three")["metrics"]["test_accuracy_before_training"]
    labelled = result["task_incremental"]
    assert labelled["forward_transfer"] == pytest.approx(before - 50, abs=1e-4)
    variance = sum(
        (share / 100) * (1 - share / 100) / len(tasks.load(name).test)
        for name, share in zip(NAMES, labelled["accuracies"], strict=True)
    )
    assert labelled["standard_error"] == pytest.approx(
        100 * variance**0.5 / 2, abs=1e-4
    )


@pytest.mark.parametrize("name", RULES)
def test_task_free_rows_know_only_the_tasks_so_far(loaded, result, name):
    run, method, tasks = loaded
    found = result["task_free"][name]
    tests = [tasks.load(task).test for task in NAMES]
    expected, identified = [[None, None], [None, None]], []
    seeing = seeing_model(method.task_model(NAMES[0]))
    statistics = list(stored_statistics(run).values())
    for row in range(2):
        for column in range(row + 1):
            images = tests[column].images.read(np.arange(len(tests[column])))
            answers = [
                answers_of(method.task_model(task), images)
                for task in NAMES[: row + 1]
            ]
            known = statistics[: row + 1]
            gate = gate_of(known)
            scores = gate.scores(see(seeing, images.astype(np.float32)))
            answers = informed(answers, known, gate, scores)
            classes = RULES[name](answers, run.config["seed"])
            truth = tests[column].labels + 2 * column
            expected[row][column] = round(100 * np.mean(classes == truth), 4)
            if row == 1:
                known = task_of_class([2, 2], classes)
                identified.append(100 * np.mean(known == column))
    assert found["matrix"] == expected
    assert found["accuracies"] == expected[1]
    assert found["forgetting"] == pytest.approx(
        expected[0][0] - expected[1][0], abs=1e-4
    )
    assert found["task_identifications"] == pytest.approx(identified, abs=1e-4)
    assert found["task_identification"] == pytest.approx(
        np.mean(identified), abs=1e-4
    )


def answers_of(model, images):
    """Return a network's logits and the features its head reads, op by op."""
    logits, features = answering_model(model)(images.astype(np.float32))
    head = model.get_layer("head")
    logits, features = np.asarray(logits), np.asarray(features)
    again = features @ np.array(head.kernel) + np.array(head.bias)
    assert again == pytest.approx(logits, abs=1e-3)
    return Answers(logits, features)


def test_labels_alone_give_the_same_matrix(loaded, result):
    alone = evaluate_run(*loaded, task_free=False)
    assert alone == {**result, "task_free": {}}


def test_changed_data_are_reported(loaded, result):
    run, method, tasks = loaded

    def half(data):
        return replace(data, test=data.test.subset(np.arange(20)))

    found = evaluate_run(
        run, method, changed(tasks, "two_three", half), task_free=False
    )
    assert found["changed_data"] == ["two_three"]
    assert found["tasks"] == NAMES
    before, after = (
        value["task_incremental"]["accuracies"] for value in (result, found)
    )
    assert after[0] == before[0]
    assert after[1] * 20 / 100 == pytest.approx(round(after[1] * 20 / 100))


def test_other_pixels_are_reported(loaded):
    run, method, tasks = loaded

    def inverted(data):
        pixels = data.test.images.read(np.arange(len(data.test)))
        return replace(
            data, test=Split(ArrayImages(255 - pixels), data.test.labels)
        )

    found = evaluate_run(
        run, method, changed(tasks, "zero_one", inverted), task_free=False
    )
    assert found["changed_data"] == ["zero_one"]
    (at_commit, _), (now, _) = found["task_incremental"]["matrix"]
    # What the data's change did is not passed off as learning or forgetting
    # alone: it is named above.
    assert found["task_incremental"]["forgetting"] == pytest.approx(
        at_commit - now, abs=1e-4
    )


def test_other_classes_are_refused(loaded):
    run, method, tasks = loaded
    renamed = changed(
        tasks, "two_three", lambda data: replace(data, classes=("2", "3"))
    )
    with pytest.raises(InputError, match=r"'two_three'.*two, three.*2, 3"):
        evaluate_run(run, method, renamed)


def test_tasks_without_test_images_are_left_out(loaded, result):
    run, method, tasks = loaded
    one = evaluate_run(run, method, replace(tasks, tasks=("two_three",)))
    assert one["tasks"] == ["two_three"]
    accuracy = result["task_incremental"]["accuracies"][1]
    # In one task alone a rule can only doubt the class.
    agreed = one["task_free"].pop("agreed")
    for setting in (one["task_incremental"], *one["task_free"].values()):
        assert setting["matrix"] == [[accuracy]]
        assert setting["forgetting"] is None
    assert agreed["task_identification"] == 100
    empty = changed(
        tasks,
        "zero_one",
        lambda data: replace(data, test=data.test.subset(np.arange(0))),
    )
    assert evaluate_run(run, method, empty)["tasks"] == ["two_three"]
    none = evaluate_run(run, method, replace(tasks, tasks=()))
    check_schema("evaluate", none, "result")
    assert none["tasks"] == []
    assert none["task_incremental"]["average_accuracy"] is None


def test_progress_tells_every_task_and_rule(loaded):
    told = []
    evaluate_run(*loaded, progress=told.append)
    for text in (*NAMES, *RULES):
        assert any(text in line for line in told)


def test_routing_statistics_are_those_of_the_routers(loaded):
    _, method, tasks = loaded
    statistics = routing_statistics(method, tasks)
    # The first task has one expert and nothing to route.
    assert list(statistics) == ["two_three"]
    test = tasks.load("two_three").test
    images = test.images.read(np.arange(min(100, len(test))))
    for name, model in method.routing("two_three").items():
        weights = np.asarray(model(images.astype(np.float32)))
        found = statistics["two_three"][name]
        assert found["experts"] == NAMES
        assert found["mean"] == pytest.approx(weights.mean(0), abs=1e-4)
        assert found["std"] == pytest.approx(weights.std(0), abs=1e-4)
        assert all(0 < value < 1 for value in found["mean"])
