"""Accuracy matrices of a run, with task labels and without."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.pipeline import evaluation_batches, evaluation_steps
from cckeras.errors import InputError
from cckeras.evaluation import metrics
from cckeras.evaluation.answers import (
    Answers,
    answer,
    answering_model,
    informed,
)
from cckeras.evaluation.task_free import INFORMED, RULES, task_of_class
from cckeras.methods.base import Method
from cckeras.runs.run import Run
from cckeras.runs.seeing import see_split
from cckeras.runs.statistics import first_seeing, gate_of, run_statistics


def evaluate_run(
    run: Run,
    method: Method,
    benchmark: Benchmark,
    *,
    task_free: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Return the run's metrics as `schemas/evaluate.json` describes them.

    A committed task never changes, so its column of the task-incremental
    matrix holds what was measured at its commit and, below, what is measured
    now. Tasks without test images are left out.

    Args:
        run: the opened run.
        method: its networks.
        benchmark: has the test images.
        task_free: whether to evaluate without task labels, too.
        progress: called with what is being done.

    Raises:
        InputError: if a task has other classes than in training.
    """
    names, tests, changed = [], [], []
    loaded = {}
    for record in run.records:
        name = record["name"]
        if name not in benchmark.tasks:
            continue
        progress(f"reading the data of task {name}")
        data = loaded[name] = benchmark.load(name)
        if list(data.classes) != record["classes"]:
            raise InputError(
                f"Expected the classes that task {name!r} was trained with: "
                f"{', '.join(record['classes'])}. Received: "
                f"{', '.join(data.classes)}. Give the folder used in training."
            )
        if len(data.test):
            names.append(name)
            tests.append(data.test)
        if record["data"] not in (None, data.fingerprint()):
            changed.append(name)
    answers = []
    for index, name in enumerate(names):
        progress(f"evaluating {name} ({index + 1}/{len(names)})")
        asked = tests if task_free else [tests[index]]
        answers.append(_answers(method.task_model(name), asked))
        keras.utils.clear_session(free_memory=False)
    result = {
        "run": str(run.path),
        "method": run.settings["method"],
        "benchmark": run.settings["benchmark"],
        "backend": keras.backend.backend(),
        "tasks": names,
        "changed_data": changed,
        "task_incremental": _task_incremental(
            run, names, tests, answers, task_free
        ),
        "task_free": {},
    }
    if task_free and names:
        told = _informed(run, method, names, tests, loaded, answers, progress)
        for name, find in RULES.items():
            if name in INFORMED and told is None:
                continue
            progress(f"evaluating the rule {name}")
            result["task_free"][name] = _task_free(
                find, run.config["seed"], tests, answers, told
            )
    return result


def _answers(model, tests) -> list[Answers]:
    answering = answering_model(model)
    results = []
    for test in tests:
        batches = iter(evaluation_batches(test))
        images = (next(batches)[0] for _ in range(evaluation_steps(test)))
        results.append(answer(answering, images))
    return results


def _informed(run, method, names, tests, loaded, answers, progress):
    """Return, for each number of tasks and each test of theirs, what they
    answer, told their statistics; None without those of all these tasks."""
    found = run_statistics(run, method, loaded.get, progress)
    if not set(names) <= set(found):
        return None
    progress("looking at all test images with the first network")
    seeing = first_seeing(method)
    seen = [see_split(seeing, test) for test in tests]
    statistics = [found[name] for name in names]
    rows = []
    for count in range(1, len(names) + 1):
        known = statistics[:count]
        gate = gate_of(known)
        rows.append(
            [
                informed(
                    _of_test(answers, count, test),
                    known,
                    gate,
                    gate.scores(seen[test]),
                )
                for test in range(count)
            ]
        )
    return rows


def _of_test(answers, count, test):
    return [answers[task][test] for task in range(count)]


def _task_incremental(run, names, tests, answers, task_free):
    records = [run.record(name) for name in names]
    committed = [record["metrics"]["test_accuracy"] for record in records]
    now = []
    for index, test in enumerate(tests):
        own = answers[index][index if task_free else 0]
        now.append(_percent(own.logits.argmax(1) == test.labels))
    matrix = [
        [
            None
            if column > row
            else now[column]
            if row > column
            or len(names) == row + 1
            or committed[column] is None
            else committed[column]
            for column in range(len(names))
        ]
        for row in range(len(names))
    ]
    before = [
        record["metrics"]["test_accuracy_before_training"] for record in records
    ]
    return {
        **_summary(matrix),
        "standard_error": round(
            metrics.standard_error(now, [len(test) for test in tests]), 4
        )
        if now
        else None,
        "mean_over_sources": _mean_over_sources(run, records),
        "forward_transfer": _rounded(
            metrics.forward_transfer(
                before, [len(record["classes"]) for record in records]
            )
        ),
    }


def _mean_over_sources(run, records):
    """Return the published figure of `finetune`, whose tasks start from each
    earlier network in turn: the mean over the tasks of the mean over these."""
    if run.config.get("sources") != "all" or not records:
        return None
    values = [
        record["metrics"].get(
            "mean_test_accuracy_of_alternatives",
            record["metrics"]["test_accuracy"],
        )
        for record in records
        if record["metrics"]["test_accuracy"] is not None
    ]
    return round(float(np.mean(values)), 4) if values else None


def _task_free(find, seed, tests, answers, told):
    counts = [own[0].logits.shape[1] for own in answers]
    starts = np.cumsum([0, *counts])
    matrix, identified = [], []
    for row in range(len(tests)):
        accuracies = []
        for column in range(row + 1):
            said = (
                _of_test(answers, row + 1, column)
                if told is None
                else told[row][column]
            )
            classes = find(said, seed)
            truth = tests[column].labels + starts[column]
            accuracies.append(_percent(classes == truth))
            if row == len(tests) - 1:
                tasks = task_of_class(counts, classes)
                identified.append(_percent(tasks == column))
        matrix.append(accuracies + [None] * (len(tests) - row - 1))
    return {
        **_summary(matrix),
        "task_identification": round(float(np.mean(identified)), 4),
        "task_identifications": identified,
    }


def _summary(matrix):
    if not matrix:
        return {
            "matrix": [],
            "accuracies": [],
            "average_accuracy": None,
            "forgetting": None,
            "backward_transfer": None,
        }
    return {
        "matrix": matrix,
        "accuracies": matrix[-1],
        "average_accuracy": round(metrics.average_accuracy(matrix), 4),
        "forgetting": _rounded(metrics.forgetting(matrix)),
        "backward_transfer": _rounded(metrics.backward_transfer(matrix)),
    }


def _percent(right):
    return round(100 * float(np.mean(right)), 4)


def _rounded(value):
    return None if value is None else round(value, 4) + 0.0
