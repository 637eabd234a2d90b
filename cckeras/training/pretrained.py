"""A run that starts from the first task of another run, or from ImageNet."""

from __future__ import annotations

from cckeras.backbones.lite0_weights import imagenet_values
from cckeras.errors import InputError
from cckeras.methods.base import Method
from cckeras.runs.records import Probe
from cckeras.runs.run import Run, network_record
from cckeras.runs.unforgetting import PROBE_IMAGES, probe_logits
from cckeras.task import Task
from cckeras.training.imagenet import (
    IMAGENET,
    check_imagenet_start,
    imagenet_probe,
    imagenet_task,
)

SAME = ("backbone", "image_size", "mean", "std")


def adopt_first_task(run: Run, method: Method, source_path: str, here) -> None:
    """Commit another run's first task, or ImageNet, as this run's first.

    Later tasks stand on it as on any first task; it is not trained again.

    Args:
        run: a run without tasks.
        method: the run's method, without tasks.
        source_path: folder of the other run, of any method; or "imagenet".
        here: the environment of this process.

    Raises:
        InputError: if the other run has no task, or its network is another;
            or if the ImageNet weights are not there, or of another network.
    """
    if source_path == IMAGENET:
        _adopt_imagenet(run, method, here)
        return
    source = Run.open(source_path)
    if not source.records:
        raise InputError(
            "Expected --config.pretrained to name a run with a learned task. "
            f"Received: {source_path}, which has none. Train it first."
        )
    for key in SAME:
        if source.config[key] != run.config[key]:
            raise InputError(
                f"Expected pretrained weights for {key}={run.config[key]}. "
                f"Received: {source_path} with {key}={source.config[key]}. Set "
                f"--config.{key} to that, or choose another run."
            )
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
            "metrics": record["metrics"],
            "pretrained_from": source.settings["id"],
        },
        Probe(images, probe_logits(method.task_model(task.name), images)),
    )


def _adopt_imagenet(run, method, here):
    check_imagenet_start(run.config)
    task = imagenet_task()
    values = {f"{task.name}/{k}": v for k, v in imagenet_values().items()}
    method.grow(task)
    method.assign(task, _renamed(values, method.values(task)))
    images = imagenet_probe(run.config, PROBE_IMAGES)
    run.commit(
        method,
        {
            **network_record(method, task, here),
            "phases": [],
            "data": None,
            "metrics": {"validation_accuracy": None, "test_accuracy": None},
            "pretrained_from": IMAGENET,
        },
        Probe(images, probe_logits(method.task_model(task.name), images)),
    )


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
