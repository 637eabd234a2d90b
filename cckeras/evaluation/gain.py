"""Total Gain: how much better than another run, summed over later tasks."""

from __future__ import annotations

from cckeras.errors import InputError
from cckeras.evaluation.metrics import total_gain
from cckeras.runs.records import RunRecords


def gain_over(evaluation: dict, run: RunRecords, reference: RunRecords) -> dict:
    """Return the Total Gain of an evaluation as `schemas/evaluate.json` has it.

    The reference's accuracies are those at its commits, which do not change
    where nothing is forgotten.

    Args:
        evaluation: what `evaluate_run` returned.
        run: the run that was evaluated.
        reference: another run of the same benchmark, by the paper one of
            `finetune`.

    Raises:
        InputError: if the reference lacks a task, or learned it from other
            data.
    """
    names = evaluation["tasks"]
    later = [r["name"] for r in run.records[1:] if r["name"] in names]
    theirs = {record["name"]: record for record in reference.records}
    for name in later:
        problem = None
        if name not in theirs:
            problem = f"{', '.join(theirs) or 'none'}, without {name}"
        elif theirs[name]["data"] != run.record(name)["data"]:
            problem = f"one that learned {name} from other images"
        if problem:
            raise InputError(
                f"Expected --reference={reference.path} to have learned the "
                f"same tasks. Received: {problem}. Train that, or name another "
                "run."
            )
    places = {name: place for place, name in enumerate(names)}
    accuracies = evaluation["task_incremental"]["accuracies"]
    ours = [accuracies[places[name]] for name in later]
    others = [theirs[name]["metrics"]["test_accuracy"] for name in later]
    return {
        "reference": str(reference.path),
        "method": reference.settings["method"],
        "accuracies": dict(zip(later, others, strict=True)),
        "points": round(total_gain(ours, others), 4) + 0.0,
    }
