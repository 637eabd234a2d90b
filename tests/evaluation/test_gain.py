"""Total Gain over another run, and the runs that cannot be compared."""

import types

import pytest

from cckeras.errors import InputError
from cckeras.evaluation.gain import gain_over
from cckeras.evaluation.metrics import total_gain

NAMES = ("imagenet", "birds", "cars")


def run(path, accuracies, data="same"):
    records = [
        {"name": name, "data": data, "metrics": {"test_accuracy": value}}
        for name, value in zip(NAMES, accuracies, strict=False)
    ]
    return types.SimpleNamespace(
        path=path,
        records=records,
        record={record["name"]: record for record in records}.get,
        settings={"method": "finetune"},
    )


EVALUATION = {
    "tasks": list(NAMES),
    "task_incremental": {"accuracies": [70.0, 81.5, 92.0]},
}
OURS = run("ours", [70.0, 81.5, 92.0])


def test_the_published_total_gain():
    ours = (84.26, 92.61, 97.16, 78.32, 80.77)
    finetuned = (83.41, 92.85, 97.12, 74.19, 79.70)
    assert total_gain(ours, finetuned) == pytest.approx(5.85)


def test_the_first_task_does_not_count():
    gain = gain_over(EVALUATION, OURS, run("other", [10.0, 80.0, 93.0]))
    assert gain == {
        "reference": "other",
        "method": "finetune",
        "accuracies": {"birds": 80.0, "cars": 93.0},
        "points": 0.5,
    }


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (run("other", [10.0, 80.0]), "imagenet, birds, without cars"),
        (run("other", [10.0, 80.0, 93.0], "else"), "birds from other images"),
    ],
)
def test_another_run_is_refused(reference, problem):
    with pytest.raises(InputError, match=problem):
        gain_over(EVALUATION, OURS, reference)
