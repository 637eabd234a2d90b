"""Several devices, or processes, learn what one learns."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cckeras import train, verify
from cckeras.runs.run import Run
from tests.command import environment, run, run_process

NAMES = ("zero_one", "two_three")
# Routers of an expert of zeros have no gradient but rounding at first, which
# Adam makes steps of full size from: no two trainings would be equal.
START = "expert_start=copy"
COMMAND = (
    "-m",
    "cckeras.train",
    f"--tasks={','.join(NAMES)}",
    "--config.epochs=2",
    "--config.decay_epochs=(1,)",
    f"--config.{START}",
    "--config.settle_epochs=1",
    "--threads=1",
)


def curves(folder):
    """Return `{task: losses}` of a run, training's and validation's."""
    return {
        record["name"]: [
            value
            for phase in record["phases"]
            for key in ("loss", "val_loss")
            for value in phase["history"][key]
        ]
        for record in Run.open(folder).records
    }


def difference(one, other):
    found, expected = curves(one), curves(other)
    assert list(found) == list(expected) == list(NAMES)
    return max(
        np.abs(np.subtract(found[name], expected[name])).max() for name in NAMES
    )


def devices(folder, count, backend, *changes):
    outcome = run_process(
        *("-m", "tests.training.two_devices", folder, count, START, *changes),
        env=environment(KERAS_BACKEND=backend),
    )
    assert outcome.code == 0, outcome.error
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "changes", "tolerance"),
    [
        (
            "tensorflow",
            ("distribute=mirrored", "synchronized_norms=True"),
            1e-5,
        ),
        # Norms then see half a batch of sixteen: another training.
        ("tensorflow", ("distribute=mirrored",), 5e-2),
        ("jax", ("distribute=data_parallel",), 1e-5),
    ],
)
def test_two_devices_learn_what_one_learns(
    tmp_path, backend, changes, tolerance
):
    one = devices(tmp_path / "one", 1, backend)
    two = devices(tmp_path / "two", 2, backend, *changes)
    assert difference(two, one) <= tolerance
    if backend == "tensorflow":
        # One device alone finds it as it was committed.
        assert run(verify.main, two).code == 0


def processes(tmp_path, backend, variables, *words):
    """Run two processes, each with a run of its own; return the folders."""
    folders = [tmp_path / f"process{number}" for number in range(2)]

    def start(number):
        done = subprocess.run(
            [sys.executable, *COMMAND, f"--run_dir={folders[number]}", *words],
            capture_output=True,
            text=True,
            timeout=600,
            env=environment(KERAS_BACKEND=backend, **variables(number)),
        )
        assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, range(2)))
    return folders


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def alone(tmp_path, backend, *words):
    folder = tmp_path / "alone"
    outcome = run_process(
        *COMMAND,
        f"--run_dir={folder}",
        *words,
        env=environment(KERAS_BACKEND=backend, JAX_PLATFORMS="cpu"),
    )
    assert outcome.code == 0, outcome.error
    return folder


def check_same_run(folders, expected):
    assert difference(folders[0], expected) <= 1e-5
    first, second = (
        [record["digest"] for record in Run.open(folder).records]
        for folder in folders
    )
    assert first == second


@pytest.mark.slow
def test_two_jax_processes_learn_what_one_learns(tmp_path):
    (port,) = free_ports(1)

    def variables(number):
        return {
            "JAX_PLATFORMS": "cpu",
            "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        }

    word = "--config.distribute=data_parallel"
    folders = processes(tmp_path, "jax", variables, word)
    check_same_run(folders, alone(tmp_path, "jax"))


@pytest.mark.slow
def test_two_tensorflow_processes_learn_what_one_learns(tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]

    def variables(number):
        task = {"type": "worker", "index": number}
        cluster = {"cluster": {"worker": workers}, "task": task}
        return {"TF_CONFIG": json.dumps(cluster)}

    # Such norms are not TensorFlow's fused ones: another rounding.
    norms = "--config.synchronized_norms=True"
    word = "--config.distribute=multi_worker"
    folders = processes(tmp_path, "tensorflow", variables, word, norms)
    check_same_run(folders, alone(tmp_path, "tensorflow", norms))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("multi_worker", "TF_CONFIG"),
        ("data_parallel", "KERAS_BACKEND=jax"),
        ("mirror", "'mirrored'"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_written(
    tmp_path, monkeypatch, kind, message
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    folder = tmp_path / "run"
    outcome = run(
        train.main, f"--run_dir={folder}", f"--config.distribute={kind}"
    )
    assert outcome.code == 2
    assert message in outcome.error
    assert not os.path.exists(folder)
