"""What forms cost: their latency in LiteRT beside that of a folded network."""

from __future__ import annotations

import statistics
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from cckeras.commands import silenced
from cckeras.export.compared import plain_model
from cckeras.export.convert import to_tflite
from cckeras.export.exact import exact_network
from cckeras.export.forms import EXACT, FOLDED, Form, exact_layers
from cckeras.export.static import Input, static_network
from cckeras.export.tables import Tables

ROUNDS = 40


def relative_costs(
    source: Input, forms: dict[str, Form]
) -> dict[str, dict[str, float]]:
    """Return what each task's form, and the exact one, cost.

    Latency of one image, float32, one thread: medians of runs in turn, as
    multiples of a folded network's.

    Args:
        source: the networks' input.
        forms: of the tasks.

    Returns:
        `{task: {form: multiple}}` of the tasks with image routing.
    """
    routed = {n: f for n, f in forms.items() if not f.network.constant}
    if not routed:
        return {}
    networks = {name: form.network for name, form in routed.items()}
    classes = max(len(network.head_bias) for network in networks.values())
    models = {
        FOLDED: plain_model(source, classes),
        EXACT: to_tflite({"classify": _exact(source, networks)}),
    }
    labels = {name: _label(form) for name, form in routed.items()}
    for name, form in routed.items():
        if labels[name] not in models:
            own = static_network(source, form.layers)
            models[labels[name]] = to_tflite({"classify": own})
    medians = _medians(source, models)
    return {
        name: {
            form.name: medians[labels[name]] / medians[FOLDED],
            EXACT: medians[EXACT] / medians[FOLDED],
        }
        for name, form in routed.items()
    }


def _exact(source, networks):
    largest = max(networks.values(), key=lambda n: len(n.head_bias))
    if largest.own:
        return static_network(source, exact_layers(largest))
    return exact_network(source, Tables(networks))


def _label(form):
    if not form.ranks:
        return form.name
    return " ".join(f"{name}:{rank}" for name, rank in form.ranks.items())


def _medians(source, models):
    calls, tabled = {}, set()
    for label, model in models.items():
        with silenced():
            interpreter = Interpreter(model_content=model, num_threads=1)
            interpreter.allocate_tensors()
        calls[label] = interpreter.get_signature_runner("classify")
        if len(interpreter.get_input_details()) > 1:
            tabled.add(label)
    seconds = {label: [] for label in calls}
    image = {"image": np.zeros((1, source.size, source.size, 3), np.float32)}
    task = {"task": np.zeros(1, np.int32)}
    for _ in range(ROUNDS):
        for label, call in calls.items():
            inputs = {**image, **task} if label in tabled else image
            start = time.perf_counter()
            call(**inputs)
            seconds[label].append(time.perf_counter() - start)
    return {label: statistics.median(found) for label, found in seconds.items()}
