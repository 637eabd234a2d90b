"""From a run to one `.tflite` file for its tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import TaskData
from cckeras.errors import CheckError, InputError
from cckeras.export import metadata
from cckeras.export.convert import to_tflite
from cckeras.export.exact import Tables, exact_network
from cckeras.export.folding import BATCH, constant_layers, fold
from cckeras.export.inspection import oldest_runtime, operators_left_out
from cckeras.export.network import Network, read_network
from cckeras.export.parity import TOLERANCE, Opened, keras_probabilities
from cckeras.export.static import Input, static_network
from cckeras.runs import files
from cckeras.runs.run import Run

EXACT, FOLDED, CONSTANT = "exact", "folded", "constant"
SAMPLES = 200


@dataclass(frozen=True)
class Form:
    """The form in which a task is exported.

    Args:
        name: `exact` (routing per image), `folded` (its mean), or `constant`
            (no image decides: exact, too).
        network: the task's arrays.
        layers: those of the static network; None if exact.
        validation: accuracy by form in percent, of the forms measured.
    """

    name: str
    network: Network
    layers: object
    validation: dict[str, float | None]


def export_run(
    run: Run,
    benchmark: Benchmark,
    output: Path,
    tasks: list[str],
    routing: str = "auto",
    max_accuracy_drop: float = 0.2,
    quantization: str = "none",
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Write tasks of a run as one file; return its metadata.

    Args:
        run: the opened run.
        benchmark: its tasks' data.
        output: the file to write.
        tasks: names of the tasks, in the order of the file.
        routing: `auto`, `exact` or `folded`.
        max_accuracy_drop: points of validation accuracy that folding a task
            may cost with `auto`.
        quantization: one of `cckeras.names.QUANTIZATIONS`.
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
    data = {}
    forms = {}
    for name in tasks:
        progress(f"{name}: choosing a form")
        data[name] = benchmark.load(name)
        forms[name] = _form(
            source, method, name, data[name], routing, max_accuracy_drop
        )
    if routing == EXACT and any(f.name == EXACT for f in forms.values()):
        # In one table, with their experts in the bank once.
        forms = {
            name: Form(EXACT, form.network, None, {})
            for name, form in forms.items()
        }
    progress("converting")
    samples = _samples(forms, data) if quantization == "int8" else ()
    signatures = _signatures(source, forms, half=quantization != "none")
    model = to_tflite(signatures, quantization, samples)
    description = _description(run, source, forms, quantization, model)
    temporary = output.with_name(f"{files.TEMPORARY}{output.name}")
    try:
        files.write(temporary, metadata.append(model, description))
        opened = Opened(temporary)
        for entry in description["tasks"]:
            name = entry["name"]
            progress(f"{name}: comparing with Keras")
            keras_model = method.task_model(name)
            form = forms[name]
            reference = keras_probabilities(keras_model)
            if form.name == FOLDED:
                reference = _static_probabilities(source, form.layers)
            entry["parity"] = asdict(
                opened.compare(name, reference, keras_model, data[name].test)
            )
            exactly = quantization == "none"
            if exactly and not entry["parity"]["difference"] <= TOLERANCE:
                raise CheckError(
                    f"Expected the exported task {name!r} to answer as Keras "
                    f"does, within {TOLERANCE:g}. Received: a difference of "
                    f"{entry['parity']['difference']:.2g}. No file was written."
                )
        description["operators_outside_xnnpack"] = operators_left_out(
            opened.first.interpreter
        )
        files.write(temporary, metadata.append(model, description))
        files.rename(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(output.parent)
    return description


def _form(source, method, name, data: TaskData, routing, drop) -> Form:
    network = read_network(method, name)
    if network.constant:
        return Form(CONSTANT, network, constant_layers(network), {})
    if routing == EXACT:
        return Form(EXACT, network, None, {})
    if not len(data.train):
        raise InputError(
            f"Expected training images of task {name!r}, to fold its routing. "
            "Received: none. Give --data_dir, or --routing=exact."
        )
    folded = fold(
        source, network, method.routing(name), data.train, data.validation
    )
    exact = _keras_accuracy(method.task_model(name), data.validation)
    measured = {EXACT: exact, FOLDED: folded.validation_accuracy}
    if routing == FOLDED or (
        exact is not None and folded.validation_accuracy >= exact - drop
    ):
        return Form(FOLDED, network, folded.layers, measured)
    return Form(EXACT, network, None, measured)


def _keras_accuracy(model, split):
    if not len(split):
        return None
    images = split.images.read(np.arange(len(split))).astype(np.float32)
    answers = model.predict(images, BATCH, verbose=0).argmax(-1)
    return 100 * float(np.mean(answers == split.labels))


def _signatures(source, forms, half):
    signatures = {
        f"classify_{number}": static_network(source, form.layers)
        for number, form in enumerate(forms.values(), 1)
        if form.layers is not None
    }
    exact = _exact_networks(forms)
    if exact:
        signatures["classify"] = exact_network(source, Tables(exact), half)
    return signatures


def _samples(forms, data):
    """Return training images of every task, for the ranges of activations."""
    found = []
    for number, (name, form) in enumerate(forms.items(), 1):
        train = data[name].train
        if form.layers is None or not len(train):
            raise InputError(
                "Expected tasks with constant kernels and training images for "
                f"--quantize=int8. Received: {name!r}, which has not. Give "
                "--routing=folded, or --quantize=int8_weights."
            )
        places = np.linspace(0, len(train) - 1, min(SAMPLES, len(train)))
        images = train.images.read(places.astype(int)).astype(np.float32)
        found += [
            (f"classify_{number}", {"image": image[None]}) for image in images
        ]
    return found


def _exact_networks(forms):
    return {
        name: form.network
        for name, form in forms.items()
        if form.layers is None
    }


def _static_probabilities(source, layers):
    classify = static_network(source, layers, batch=None)

    def probabilities(images):
        return np.concatenate(
            [
                classify(images[start : start + BATCH])["probabilities"]
                for start in range(0, len(images), BATCH)
            ]
        )

    return probabilities


def _description(run, source, forms, quantization, model):
    exact = list(_exact_networks(forms))
    tasks = []
    for number, (name, form) in enumerate(forms.items(), 1):
        record = run.record(name)
        static = form.layers is not None
        tasks.append(
            {
                "name": name,
                "classes": record["classes"],
                "form": form.name,
                "signature": f"classify_{number}" if static else "classify",
                "index": None if static else exact.index(name),
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
        "quantization": quantization,
        "oldest_runtime": oldest_runtime(model),
        "model_bytes": len(model),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "operators_outside_xnnpack": {},
        "tasks": tasks,
    }
