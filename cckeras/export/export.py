"""From a run to one `.tflite` file for its tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cckeras.benchmarks.base import Benchmark
from cckeras.errors import CheckError, InputError
from cckeras.export import image_classifier, metadata
from cckeras.export.answers import keras_answers, static_answers
from cckeras.export.convert import to_tflite
from cckeras.export.cost import relative_costs
from cckeras.export.exact import Tables, exact_network
from cckeras.export.forms import (
    AUTO,
    FOLDED,
    LOW_RANK,
    Choice,
    Form,
    choose_forms,
)
from cckeras.export.inspection import oldest_runtime, operators_left_out
from cckeras.export.parity import TOLERANCE, Opened
from cckeras.export.static import Input, static_network
from cckeras.runs import files
from cckeras.runs.run import Run

SAMPLES = 200


@dataclass(frozen=True)
class Options:
    """How tasks are exported.

    Args:
        routing: one of `cckeras.names.EXPORT_ROUTINGS`.
        max_accuracy_drop: points of validation accuracy that folding may cost
            with `auto`, on average over the tasks.
        quantization: one of `cckeras.names.QUANTIZATIONS`.
        target: `litert`, or `mediapipe` for one task with the metadata that
            MediaPipe's ImageClassifier reads.
        rank: directions a layer of `low_rank`.
    """

    routing: str = "auto"
    max_accuracy_drop: float = 0.2
    quantization: str = "none"
    target: str = "litert"
    rank: int = 1


def export_run(
    run: Run,
    benchmark: Benchmark,
    output: Path,
    tasks: list[str],
    options: Options,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Write tasks of a run as one file; return its metadata.

    Args:
        run: the opened run.
        benchmark: its tasks' data.
        output: the file to write.
        tasks: names of the tasks, in the order of the file.
        options: how.
        progress: called with what is being done.

    Raises:
        InputError: if data that a form needs is missing.
        CheckError: if a signature's answers differ from the Keras network's
            by more than 1e-4 (without quantization). No file is left.
    """
    needed = [used for name in tasks for used in run.record(name)["uses"]]
    progress("loading the run")
    method = run.load(tuple(dict.fromkeys(needed)))
    source = Input.of(run.config)
    data = {name: benchmark.load(name) for name in tasks}
    forms = choose_forms(source, method, data, _choice(options), progress)
    costs = {}
    if options.routing == AUTO:
        progress("timing the forms")
        costs = relative_costs(source, forms)
    progress("converting")
    places = _places(forms)
    samples = ()
    if options.quantization == "int8":
        samples = _samples(forms, places, data)
    half = options.quantization != "none"
    model = to_tflite(
        _signatures(source, forms, places, half), options.quantization, samples
    )
    attached = {}
    if options.target == "mediapipe":
        model = image_classifier.with_metadata(model, tasks[0])
        labels = "\n".join(run.record(tasks[0])["classes"])
        attached[image_classifier.LABELS] = labels.encode()
    description = describe(run, source, forms, places, options, model)
    for entry in description["tasks"]:
        entry["cost"] = costs.get(entry["name"], {})
    temporary = output.with_name(f"{files.TEMPORARY}{output.name}")
    try:
        files.write(temporary, metadata.append(model, description, attached))
        _compare(temporary, description, method, source, forms, data, progress)
        files.write(temporary, metadata.append(model, description, attached))
        files.rename(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(output.parent)
    return description


def _compare(path, description, method, source, forms, data, progress):
    """Complete the description by how the file compares with Keras."""
    opened = Opened(path)
    for entry in description["tasks"]:
        name = entry["name"]
        progress(f"{name}: comparing with Keras")
        model = method.task_model(name)
        reference = keras_answers(model)
        if forms[name].name in (FOLDED, LOW_RANK):
            reference = static_answers(source, forms[name].layers)
        parity = opened.compare(name, reference, model, data[name].test)
        entry["parity"] = asdict(parity)
        exactly = description["quantization"] == "none"
        # Of quantized files, NaN alone is refused.
        if not parity.difference <= (TOLERANCE if exactly else 1.0):
            raise CheckError(
                f"Expected the exported task {name!r} to answer as Keras does, "
                f"within {TOLERANCE:g} (quantized: with numbers). "
                "Received: a difference of "
                f"{parity.difference:.2g}. No file was written."
            )
    left_out = operators_left_out(opened.first.interpreter)
    description["operators_outside_xnnpack"] = left_out


def _choice(options):
    return Choice(
        FOLDED if options.target == "mediapipe" else options.routing,
        options.max_accuracy_drop,
        options.rank,
        options.quantization == "int8",
    )


def _places(forms):
    """Return `{task: (signature, index in the table or None)}`."""
    exact = [name for name, form in forms.items() if form.layers is None]
    if len(forms) == 1 and not exact:
        return dict.fromkeys(forms, ("classify", None))
    return {
        name: ("classify", exact.index(name))
        if name in exact
        else (f"classify_{number}", None)
        for number, name in enumerate(forms, 1)
    }


def _signatures(source, forms, places, half):
    signatures = {
        places[name][0]: static_network(source, form.layers)
        for name, form in forms.items()
        if form.layers is not None
    }
    exact = {
        name: form.network
        for name, form in forms.items()
        if form.layers is None
    }
    if exact:
        signatures["classify"] = exact_network(source, Tables(exact), half)
    return signatures


def _samples(forms, places, data):
    """Return training images of every task, for the ranges of activations."""
    found = []
    for name, form in forms.items():
        train = data[name].train
        if form.layers is None or form.ranks or not len(train):
            raise InputError(
                "Expected tasks with constant kernels and training images for "
                f"--quantize=int8. Received: {name!r}, which has not. Give "
                "--routing=folded, or --quantize=int8_weights."
            )
        found += [
            (places[name][0], {"image": image[None]})
            for image in train.read_spread(SAMPLES)
        ]
    return found


def describe(
    run: Run,
    source: Input,
    forms: dict[str, Form],
    places: dict[str, tuple[str, int | None]],
    options: Options,
    model: bytes,
) -> dict:
    """Return a file's metadata; how it compares with Keras is still missing.

    Args:
        run: the opened run.
        source: the networks' input.
        forms: `{task: its form}`, in the order of the file.
        places: `{task: (signature, index in the table or None)}`.
        options: how the tasks are exported.
        model: content of the `.tflite` file.
    """
    tasks = []
    for name, form in forms.items():
        record = run.record(name)
        signature, index = places[name]
        tasks.append(
            {
                "name": name,
                "classes": record["classes"],
                "form": form.name,
                "ranks": form.ranks,
                "signature": signature,
                "index": index,
                "digest": record["digest"],
                "validation_accuracy": form.validation,
                "parity": None,
            }
        )
    return {
        "format": metadata.FORMAT,
        "run": run.settings["id"],
        "method": run.settings["method"],
        "benchmark": run.settings["benchmark"],
        "backbone": source.backbone,
        "input": {
            "name": "image",
            "shape": [1, source.size, source.size, 3],
            "range": [0, 255],
            "channels": "RGB",
        },
        "output": "probabilities",
        "quantization": options.quantization,
        "oldest_runtime": oldest_runtime(model),
        "model_bytes": len(model),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "operators_outside_xnnpack": {},
        "tasks": tasks,
    }
