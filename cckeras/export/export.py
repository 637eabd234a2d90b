"""From a run to one `.tflite` file for its tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import TaskData
from cckeras.errors import CheckError, InputError
from cckeras.export import image_classifier, metadata
from cckeras.export.answers import keras_answers, static_answers
from cckeras.export.banks import with_one_scale
from cckeras.export.convert import to_tflite
from cckeras.export.cost import relative_costs
from cckeras.export.description import describe
from cckeras.export.exact import exact_network
from cckeras.export.forms import (
    AUTO,
    EXACT,
    FOLDED,
    LOW_RANK,
    Choice,
    choose_forms,
)
from cckeras.export.identify import SIGNATURE as IDENTIFY
from cckeras.export.identify import Finder
from cckeras.export.identify_parity import compare_identify
from cckeras.export.inspection import operators_left_out
from cckeras.export.options import Options
from cckeras.export.parity import TOLERANCE, Opened
from cckeras.export.static import Input, static_network
from cckeras.export.tables import TABLES
from cckeras.runs import files
from cckeras.runs.run import Run

SAMPLES = 200


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
    if options.identify:  # Its network is what the gate looks through.
        needed = [run.records[0]["name"], *needed]
    method = run.load(tuple(dict.fromkeys(needed)), precision="float32")
    source = Input.of(run.config)
    data = {name: _data(run, benchmark, name) for name in tasks}
    choice = _choice(options)
    forms = choose_forms(source, method, data, choice, progress)
    costs = {}
    if choice.routing == AUTO:
        progress("timing the forms")
        costs = relative_costs(source, forms)
    progress("converting")
    places = _places(forms)
    samples = ()
    if options.quantization == "int8":
        samples = _samples(forms, places, data)
    signatures = _signatures(source, forms, places, options.quantization)
    finder = None
    if options.identify:
        progress("making the gate")
        finder = Finder.fit(source, run, method, forms, data)
        signatures[IDENTIFY] = finder.network(options.quantization)
    model = to_tflite(signatures, options.quantization, samples)
    if options.quantization == "int8_weights":
        model = with_one_scale(model)
    attached = {}
    if options.target == "mediapipe":
        model = image_classifier.with_metadata(model, tasks[0])
        labels = "\n".join(run.record(tasks[0])["classes"])
        attached[image_classifier.LABELS] = labels.encode()
    description = describe(run, source, forms, places, options, model, costs)
    temporary = output.with_name(f"{files.TEMPORARY}{output.name}")
    try:
        files.write(temporary, metadata.append(model, description, attached))
        _compare(
            run, temporary, description, method, forms, finder, data, progress
        )
        files.write(temporary, metadata.append(model, description, attached))
        files.rename(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(output.parent)
    return description


def _data(run, benchmark, name):
    record = run.record(name)
    if name in benchmark.tasks:
        return benchmark.load(name)
    if record["phases"]:
        raise InputError(
            f"Expected the data of task {name!r}. Received: --data_dir without "
            "it. Give the folder used in training, or leave the task out with "
            "--tasks."
        )
    size = run.config["image_size"]
    return TaskData.without_images(record["classes"], size)


def _compare(run, path, description, method, forms, finder, data, progress):
    """Complete the description by how the file compares with Keras."""
    opened = Opened(path)
    exactly = description["quantization"] == "none"
    for entry in description["tasks"]:
        name = entry["name"]
        progress(f"{name}: comparing with Keras")
        model = method.task_model(name)
        reference = keras_answers(model)
        if forms[name].name in (FOLDED, LOW_RANK):
            source = Input.of(method.config)
            reference = static_answers(source, forms[name].layers)
        parity = opened.compare(
            name,
            reference,
            model,
            data[name].test,
            run.probe(name).images,
        )
        entry["parity"] = asdict(parity)
        _check(f"task {name!r} to answer", parity.difference, exactly)
    if finder is not None:
        progress("comparing what finds the task")
        found = compare_identify(opened.first, finder, method, data)
        description["identify"] |= asdict(found)
        _check("file to find tasks", found.difference, exactly)
    left_out = operators_left_out(opened.first.interpreter)
    description["operators_outside_xnnpack"] = left_out


def _check(what, difference, exactly):
    # Of quantized files, NaN alone is refused.
    if not difference <= (TOLERANCE if exactly else 1.0):
        raise CheckError(
            f"Expected the exported {what} as Keras does, within "
            f"{TOLERANCE:g} (quantized: with numbers). Received: a difference "
            f"of {difference:.2g}. No file was written."
        )


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


def _signatures(source, forms, places, quantization):
    signatures, exact = {}, {}
    for name, form in forms.items():
        if form.layers is None:
            exact[name] = form.network
            continue
        layers = form.layers
        if quantization == "int8_weights":
            layers = layers.quantized()
        signatures[places[name][0]] = static_network(source, layers)
    if exact:
        tables = TABLES[quantization](exact)
        signatures["classify"] = exact_network(source, tables)
    return signatures


def _samples(forms, places, data):
    """Return training images of every task, for the ranges of activations."""
    found = []
    for name, form in forms.items():
        train = data[name].train
        if form.name in (EXACT, LOW_RANK) or not len(train):
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
