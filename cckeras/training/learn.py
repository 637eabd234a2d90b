"""The training loop: one task after another, each committed when proven."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

from cckeras.benchmarks.base import Benchmark
from cckeras.data.sources import TaskData
from cckeras.errors import CheckError, InputError
from cckeras.methods.base import Method, PhaseResult
from cckeras.runs import files
from cckeras.runs.environment import environment
from cckeras.runs.records import TASKS, TRAINING, Probe, is_unused
from cckeras.runs.run import Run, network_record
from cckeras.runs.statistics import first_seeing, measure, stored_statistics
from cckeras.runs.unforgetting import (
    changed_tasks,
    probe_images,
    probe_logits,
)
from cckeras.task import Task
from cckeras.training.checkpoint import Checkpoints, TrainingState
from cckeras.training.phase import (
    accuracy,
    compile_model,
    forget_training,
    train_phase,
)
from cckeras.training.pretrained import adopt_first_task, first_task


def learn(
    run: Run,
    benchmark: Benchmark,
    *,
    threads: int = 0,
    workers: int = 0,
    observe=None,
) -> Run:
    """Learn the benchmark's tasks that the run does not have yet.

    Args:
        run: an opened or new run, whose lock the caller holds.
        benchmark: tasks and data.
        threads: what to record as the number of threads, 0 for all.
        workers: processes that read and change pictures, 0 for none.
        observe: called as `observe(task, data, phase)` before each phase;
            returns more Keras callbacks.

    Raises:
        InputError: if a file of the run is damaged, or the loss is not finite.
        CheckError: if an earlier task has changed; nothing is committed.
    """
    recover(run)
    method = run.load()
    here = environment(threads)
    pretrained = run.config.get("pretrained")
    if pretrained and not run.records:
        first = first_task(pretrained, run.config).name
        data = benchmark.load(first) if first in benchmark.tasks else None
        adopt_first_task(run, method, pretrained, here, data)
    probes = {task.name: run.probe(task.name) for task in run.tasks}
    seen = stored_statistics(run)
    seeing = None
    for name in benchmark.tasks:
        if name in method.tasks:
            continue
        data = benchmark.load(name)
        task = Task(name, len(method.tasks) + 1, tuple(data.classes))
        record = learn_task(run, method, task, data, here, observe, workers)
        # Of others the network holds no variable, and their files stay.
        uses = set(method.uses(task)) - {name}
        used = [own for own in run.records if own["name"] in uses]
        problems = changed_tasks(method, used, probes, here)
        if problems:
            # What was learned may stand on what had changed.
            Checkpoints(run.path / TRAINING).clear()
            raise CheckError(
                f"Expected learning task {name!r} to leave earlier tasks as "
                f"they were. Received: {'; '.join(problems)}. Nothing was "
                "committed."
            )
        images = probe_images(data)
        model = method.task_model(name)
        probes[name] = Probe(images, probe_logits(model, images))
        if seeing is None:
            seeing = first_seeing(method)
        seen[name] = measure(seeing, model, data, list(seen.values()))
        run.commit(method, record, probes[name], seen[name].pack())
        Checkpoints(run.path / TRAINING).clear()
    problems = changed_tasks(method, run.records, probes, here)
    if problems:
        raise CheckError(
            "Expected learning to leave all tasks as they were committed. "
            f"Received: {'; '.join(problems)}. The files are whole: check them "
            "with cckeras.verify."
        )
    return run


def learn_task(
    run: Run,
    method: Method,
    task: Task,
    data: TaskData,
    here,
    observe=None,
    workers: int = 0,
) -> dict:
    """Train a task's phases, resuming where training stands; return its record."""
    checkpoints = Checkpoints(run.path / TRAINING)
    state = checkpoints.newest(task.name)
    if state is None:
        checkpoints.clear()  # Those of a task that is not learned now.
        state = TrainingState(task.name, data=data.fingerprint())
    elif state.data not in (None, data.fingerprint()):
        raise InputError(
            f"Expected the data with which the training of task {task.name!r} "
            "began. Received: other images or classes. Restore them, or delete "
            f"{run.path / TRAINING} to train the task anew."
        )
    method.grow(task)
    model = method.task_model(task.name)
    if state.first_accuracy is None:
        compile_model(model, "sgd")
        state.first_accuracy = accuracy(model, data.test)
    phases = method.phases(task)
    result = None
    number = 0
    while True:
        try:
            phase = phases.send(result)
        except StopIteration:
            break
        if number < len(state.results):
            result = PhaseResult(**state.results[number])
        else:
            callbacks = observe(task, data, phase) if observe else ()
            result = train_phase(
                phase,
                method,
                task,
                data,
                state,
                checkpoints,
                callbacks,
                workers,
            )
            _finish_phase(result, method, task, state)
        number += 1
    if "winner" in state.tensors:
        method.assign(task, state.tensors["winner"])
    forget_training(model)
    return _record(method, task, data, state, here)


def recover(run: Run) -> None:
    """Finish, or delete, what an interrupted commit left behind."""
    for folder in (run.path, run.path / TASKS, run.path / TRAINING):
        folder.mkdir(exist_ok=True)  # Copying may have lost an empty one.
        files.remove_leftovers(folder)
    for folder in run.uncommitted():
        files.remove(folder)
    run.protect()
    Checkpoints(run.path / TRAINING).forget({task.name for task in run.tasks})


def _finish_phase(result, method, task, state):
    state.results.append(dataclasses.asdict(result))
    choice = result.alternative or result.optional
    if choice and _kept(state.results) is state.results[-1]:
        state.tensors["winner"] = method.values(task)
    state.phase += 1
    state.epoch = 0


def _kept(results: list[dict]) -> dict:
    """Return the phase whose values a task keeps: the last one, but of
    alternatives the best (the first one on ties), and an optional one only if
    it is no worse, or within its tolerance."""
    kept = results[0]
    for entry in results[1:]:
        before, now = (
            result["validation_accuracy"] or 0 for result in (kept, entry)
        )
        if entry.get("optional"):
            # Rounded as the accuracies are: 70.2 and 69.9 differ by 0.3.
            better = round(before - now, 4) <= entry.get("tolerance", 0)
        elif entry["alternative"] and kept["alternative"]:
            better = now > before
        else:
            better = True
        if better:
            kept = entry
    return kept


def _record(method, task, data, state, here):
    kept = _kept(state.results)
    metrics = {
        "validation_accuracy": kept["validation_accuracy"],
        "test_accuracy": kept["test_accuracy"],
        "test_accuracy_before_training": state.first_accuracy,
    }
    rivals = [
        entry["test_accuracy"]
        for entry in state.results
        if entry["alternative"] and entry["test_accuracy"] is not None
    ]
    if rivals:
        metrics["mean_test_accuracy_of_alternatives"] = round(
            statistics.mean(rivals), 4
        )
    return {
        **network_record(method, task, here),
        "phases": state.results,
        "data": data.fingerprint(),
        "framing": data.framing,
        "metrics": metrics,
    }


def open_or_create(
    path: Path, method: str, benchmark: str, config: dict
) -> Run:
    """Open a run to go on with it, or create it.

    Raises:
        InputError: if the folder holds something else, or a run of another
            method, benchmark or configuration (the keys are named).
    """
    if is_unused(path):
        return Run.create(path, method, benchmark, config)
    run = Run.open(path)
    run.check_same(method, benchmark, config)
    return run
