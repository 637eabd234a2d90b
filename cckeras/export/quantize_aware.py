"""A task's network fine-tuned to eight bits, beside what it competes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import Split
from cckeras.errors import CheckError, InputError
from cckeras.export import metadata
from cckeras.export.answers import percent_right
from cckeras.export.convert import to_tflite
from cckeras.export.description import describe
from cckeras.export.export import SAMPLES, export_run
from cckeras.export.fine_tuning import FineTuned, Recipe
from cckeras.export.forms import FOLDED, Choice, choose_forms
from cckeras.export.inspection import operators_left_out
from cckeras.export.options import Options
from cckeras.export.parity import Opened
from cckeras.export.runtime import ExportedTasks
from cckeras.export.static import Input
from cckeras.runs import files
from cckeras.runs.run import Run

FLOAT, AFTERWARDS, AWARE = (
    "float32",
    "post_training_int8",
    "quantize_aware_int8",
)
SIGNATURE = "classify"
# Of a probability, between the rounding that was trained with and the file's:
# both round alike but for ties, and one step of a logit may move it so much.
TOLERANCE = 0.25


@dataclass(frozen=True)
class Candidate:
    """A file, and its validation accuracy in percent."""

    path: Path
    metadata: dict
    validation_accuracy: float


def quantize_task(
    run: Run,
    benchmark: Benchmark,
    task: str,
    recipe: Recipe,
    folder: Path,
    progress: Callable[[str], None],
) -> tuple[dict[str, Candidate], list[dict]]:
    """Write a task's folded network three times into a folder.

    Args:
        run: the opened run.
        benchmark: its tasks' data.
        task: name of the task.
        recipe: of the fine-tuning.
        folder: where `float32.tflite`, `post_training_int8.tflite` and
            `quantize_aware_int8.tflite` are written.
        progress: called with what is being done.

    Returns:
        `{name: candidate}` in this order, and the epochs' losses and accuracies.

    Raises:
        InputError: if the task has no training or no validation images.
        CheckError: if a file does not answer as its network does.
    """
    data = benchmark.load(task)
    for name in ("train", "validation"):
        if not len(getattr(data, name)):
            raise InputError(
                f"Expected training and validation images of task {task!r}. "
                f"Received: none of {name}. Give --data_dir, as in training."
            )
    candidates = {}
    for name, quantization in ((FLOAT, "none"), (AFTERWARDS, "int8")):
        path = folder / f"{name}.tflite"
        options = Options(FOLDED, quantization=quantization)
        described = export_run(run, benchmark, path, [task], options, progress)
        candidates[name] = _candidate(path, described, task, data.validation)
    path = folder / f"{AWARE}.tflite"
    described, history = _train_and_write(
        run, data, task, recipe, path, progress
    )
    candidates[AWARE] = _candidate(path, described, task, data.validation)
    return candidates, history


def better(candidates: dict[str, Candidate]) -> str:
    """Return the name of the int8 candidate to keep: the fine-tuned one where
    it is better on validation images, which it is not by being equal."""
    tuned, plain = candidates[AWARE], candidates[AFTERWARDS]
    if tuned.validation_accuracy > plain.validation_accuracy:
        return AWARE
    return AFTERWARDS


def _candidate(path, described, task: str, validation: Split) -> Candidate:
    opened = ExportedTasks(path)
    answers = [
        opened.probabilities(task, image) for image in validation.read_spread()
    ]
    right = percent_right(np.stack(answers), validation.labels)
    return Candidate(path, described, right)


def _train_and_write(run, data, task, recipe, path, progress):
    source = Input.of(run.config)
    method = run.load(tuple(run.record(task)["uses"]), precision="float32")
    forms = choose_forms(source, method, {task: data}, Choice(FOLDED), progress)
    network = FineTuned(
        source, forms[task].layers, data.train.read_spread(SAMPLES)
    )
    history = network.train(task, data, recipe, progress)
    progress(f"{task}: converting")
    model = to_tflite(
        {SIGNATURE: network.classifier()},
        "int8",
        variables=network.model.variables,
    )
    options = Options(FOLDED, quantization="int8")
    places = {task: (SIGNATURE, None)}
    described = describe(run, source, forms, places, options, model, {})
    kept = max(history, key=lambda epoch: epoch["validation_accuracy"])
    described["fine_tuning"] = {
        "epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
        "epoch": kept["epoch"],
    }
    (entry,) = described["tasks"]
    files.write(path, metadata.append(model, described))
    opened = Opened(path)
    parity = opened.compare(
        task, network.answers, method.task_model(task), data.test
    )
    if not parity.difference <= TOLERANCE:
        raise CheckError(
            f"Expected the file of task {task!r} to answer as the network that "
            f"was fine-tuned, within {TOLERANCE:g}. Received: a difference of "
            f"{parity.difference:.2g}. No file was written."
        )
    entry["parity"] = asdict(parity)
    described["operators_outside_xnnpack"] = operators_left_out(
        opened.first.interpreter
    )
    files.write(path, metadata.append(model, described))
    return described, history
