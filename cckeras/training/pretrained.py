"""A run that starts from the first task of another run."""

from __future__ import annotations

from cckeras.errors import InputError
from cckeras.methods.base import Method
from cckeras.runs.records import Probe
from cckeras.runs.run import Run, network_record
from cckeras.runs.unforgetting import probe_logits
from cckeras.task import Task

SAME = ("backbone", "image_size", "mean", "std")


def adopt_first_task(run: Run, method: Method, source_path: str, here) -> None:
    """Commit another run's first task as this run's first.

    Later tasks stand on it as on any first task; it is not trained again.

    Args:
        run: a run without tasks.
        method: the run's method, without tasks.
        source_path: folder of the other run, of any method.
        here: the environment of this process.

    Raises:
        InputError: if the other run has no task, or its network is another.
    """
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
            "metrics": record["metrics"],
            "pretrained_from": source.settings["id"],
        },
        Probe(images, probe_logits(method.task_model(task.name), images)),
        source.statistics(task.name),
    )


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
