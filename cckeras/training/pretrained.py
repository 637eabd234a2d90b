"""A run that starts from the first task of another run, or a weights file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cckeras.backbones.lite0_weights import imagenet_values
from cckeras.data.imagenet_classes import imagenet_names
from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.methods.base import Method
from cckeras.runs.records import Probe
from cckeras.runs.run import Run, network_record
from cckeras.runs.statistics import first_seeing, measure
from cckeras.runs.unforgetting import PROBE_IMAGES, probe_images, probe_logits
from cckeras.task import Task
from cckeras.training.imagenet import (
    BACKBONE,
    IMAGENET,
    check_imagenet_start,
    class_names,
    imagenet_task,
)
from cckeras.training.phase import accuracy, compile_model, forget_training
from cckeras.training.weights_files import open_weights

SAME = ("backbone", "image_size", "mean", "std")


def adopt_first_task(
    run: Run,
    method: Method,
    source_path: str,
    here,
    data: TaskData | None = None,
) -> None:
    """Commit another run's first task, or a file's network, as the first.

    Later tasks stand on it as on any first task; it is not trained again.

    Args:
        run: a run without tasks.
        method: the run's method, without tasks.
        source_path: folder of the other run, of any method; or what
            `open_weights` takes.
        here: the environment of this process.
        data: pictures of the task, where there are some: they are measured.

    Raises:
        InputError: if the other run has no task, or its network is another,
            or that of the file.
    """
    if (source_path, run.config["backbone"]) == (IMAGENET, BACKBONE):
        _adopt_imagenet(run, method, here, data)
        return
    if source_path == IMAGENET or not Path(source_path).is_dir():
        _adopt_weights(run, method, source_path, here, data)
        return
    source = open_source(source_path, run.config)
    record = source.records[0]
    task = Task.from_record(record)
    networks = source.load((task.name,))
    method.grow(task)
    method.assign(task, _renamed(networks.values(task), method.values(task)))
    images = source.probe(task.name).images
    run.commit(
        method,
        {
            **network_record(method, task, here),
            "phases": [],
            "data": record["data"],
            "framing": record.get("framing", {}),
            "metrics": record["metrics"],
            "pretrained_from": source.settings["id"],
        },
        Probe(images, probe_logits(method.task_model(task.name), images)),
        source.statistics(task.name),
    )


def first_task(source_path: str, config: dict) -> Task:
    """Return the task that `adopt_first_task` would commit.

    Args:
        source_path: as there.
        config: the recipe of the run that starts from it.

    Raises:
        InputError: as there.
    """
    if (source_path, config["backbone"]) == (IMAGENET, BACKBONE):
        check_imagenet_start(config)
        return imagenet_task()
    if source_path == IMAGENET or not Path(source_path).is_dir():
        with open_weights(source_path, config) as weights:
            return _task_of(weights)
    return Task.from_record(open_source(source_path, config).records[0])


def open_source(source_path: str, config: dict) -> Run:
    """Open the run whose first task another run starts from.

    Args:
        source_path: folder of the run.
        config: the recipe of the run that starts from it.

    Raises:
        InputError: if it has no task, or its network is another.
    """
    source = Run.open(source_path)
    if not source.records:
        raise InputError(
            "Expected --config.pretrained to name a run with a learned task. "
            f"Received: {source_path}, which has none. Train it first."
        )
    for key in SAME:
        if source.config[key] != config[key]:
            raise InputError(
                f"Expected pretrained weights for {key}={config[key]}. "
                f"Received: {source_path} with {key}={source.config[key]}. Set "
                f"--config.{key} to that, or choose another run."
            )
    return source


def _adopt_imagenet(run, method, here, data):
    check_imagenet_start(run.config)
    task = imagenet_task()
    values = {f"{task.name}/{k}": v for k, v in imagenet_values().items()}
    method.grow(task)
    method.assign(task, _renamed(values, method.values(task)))
    _commit_weights(run, method, task, IMAGENET, here, data)


def _adopt_weights(run, method, source, here, data):
    with open_weights(source, run.config) as weights:
        task = _task_of(weights)
        method.grow(task)
        wanted = method.values(task)
        shapes = {_plain(key): array.shape for key, array in wanted.items()}
        values = weights.values(shapes)
    values = {f"{task.name}/{key}": array for key, array in values.items()}
    method.assign(task, _renamed(values, wanted))
    _commit_weights(run, method, task, weights.origin, here, data)


def _task_of(weights):
    names = class_names(weights.classes)
    name = IMAGENET if names == imagenet_names() else "pretrained"
    return Task(name, 1, names)


def _commit_weights(run, method, task, origin, here, data):
    model = method.task_model(task.name)
    statistics = None
    if data is None:
        # Such weights come without pictures: noise is the probe.
        size = run.config["image_size"]
        images = np.random.default_rng(0).integers(
            0, 256, (PROBE_IMAGES, size, size, 3)
        )
        images = images.astype("float32")
    else:
        _check_classes(task, data)
        images = probe_images(data)
        statistics = measure(first_seeing(method), model, data, []).pack()
        compile_model(model, "sgd")
    run.commit(
        method,
        {
            **network_record(method, task, here),
            "phases": [],
            "data": data and data.fingerprint(),
            "framing": data.framing if data else {},
            "metrics": {
                "validation_accuracy": data
                and accuracy(model, data.validation),
                "test_accuracy": data and accuracy(model, data.test),
                "test_accuracy_before_training": None,
            },
            "pretrained_from": origin,
        },
        Probe(images, probe_logits(model, images)),
        statistics,
    )
    forget_training(model)


def _check_classes(task, data):
    if data.classes != task.classes:
        raise InputError(
            f"Expected pictures of the {len(task.classes)} classes that the "
            f"weights of task {task.name!r} know. Received: pictures of "
            f"{len(data.classes)} other ones. Leave them out with --tasks, or "
            "name their folders as the weights do."
        )


def _plain(name):
    """Return `layer/variable` as `scratch` calls it."""
    layer, variable = name.split("/")[-2:]
    return f"{layer}/{'kernel' if variable == 'expert' else variable}"


def _renamed(values, wanted):
    """Return the values under the names that this run's method uses.

    Methods differ in what they call the kernel of a first task's convolution
    (`kernel`, or the bank's first `expert`) and whether they keep a second
    copy of the network (`scratch/`).
    """
    renamed = {}
    for name in wanted:
        plain = name.replace("/scratch/", "/")
        layer = plain.rsplit("/", 1)[0]
        for candidate in (plain, f"{layer}/kernel", f"{layer}/expert"):
            if candidate in values:
                renamed[name] = values[candidate]
                break
    return renamed
