"""What every command shares: exit codes, JSON output, the backend."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cckeras.allocator import keep_freed_memory
from cckeras.errors import CheckError, InputError, nearest
from cckeras.interrupts import keep_interrupts


def run_command(main: Callable[[list[str]], int | None]) -> None:
    """Run a command with the process's arguments and exit with its code."""
    keep_interrupts()
    code = exit_code(main, sys.argv[1:])
    sys.stderr.flush()
    # Data threads may still be inside a native library; ending here spares
    # them its teardown.
    os._exit(code)


def exit_code(
    main: Callable[[list[str]], int | None], arguments: list[str]
) -> int:
    """Run a command; return its exit code (docs/design.md).

    0 done, 1 a check failed, 2 bad input or usage, 130 interrupted: each but
    the first with one line on standard error. 70, with a traceback, is a fault
    of cckeras itself.
    """
    try:
        code = main(arguments) or 0
        sys.stdout.flush()
    except InputError as error:
        code = _fail(2, str(error))
    except CheckError as error:
        code = _fail(1, str(error))
    except KeyboardInterrupt:
        code = _fail(130, "interrupted; nothing is lost, run it again")
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        code = 0
    except OSError as error:
        advice = (
            "Make room and run the same command again"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "Check the path and its permissions"
        )
        where = f" {error.filename}" if error.filename else ""
        code = _fail(
            2,
            "Expected to be able to read and write files. Received: "
            f"{error.strerror}{where}. {advice}.",
        )
    except SystemExit as error:  # After the help text.
        code = error.code or 0
    except Exception:
        # A fault of ours, not of the input: 1 would say that a check failed.
        traceback.print_exc()
        code = 70
    return code


def _fail(code, text):
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


def start_backend(
    threads: int = 0, distribute: str = "none", only: str | None = None
) -> None:
    """Load Keras on the chosen backend with a number of threads, silently.

    The backend is `KERAS_BACKEND`, else TensorFlow, or JAX where TensorFlow
    is not installed.

    Args:
        threads: 0 for all.
        distribute: as of `training.distribution.distributed`.
        only: the one backend that will do.

    Raises:
        InputError: if no backend is installed, or another one is chosen than
            will do, or several processes are asked for that cannot be had.
    """
    backend = os.environ.get("KERAS_BACKEND") or None
    if only is not None and backend not in (only, None):
        raise InputError(
            f"Expected KERAS_BACKEND={only} for this command. Received: "
            f"KERAS_BACKEND={backend}. Unset it."
        )
    installed = [
        name
        for name in ("tensorflow", "jax")
        if importlib.util.find_spec(name) is not None
    ]
    if backend is None and installed:
        backend = installed[0]
    if backend not in installed:
        raise InputError(
            "Expected KERAS_BACKEND to be an installed backend, tensorflow or "
            f"jax. Received: {backend or 'none'}, installed: "
            f"{', '.join(installed) or 'none'}."
            f"{nearest(backend, installed)} Unset it, or install that package."
        )
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax" and threads:
        # Read by XLA's CPU client when it makes its thread pool.
        os.environ["NPROC"] = str(threads)
    with silenced():
        if backend == "tensorflow":
            keep_freed_memory()
            import tensorflow as tf

            if threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            _start_processes(distribute)
            tf.config.list_logical_devices()
            # It warns of every second shape that a function is traced for.
            tf.get_logger().setLevel("ERROR")
        import keras  # noqa: F401

        if backend == "jax":
            _start_processes(distribute)


def _start_processes(distribute):
    if distribute != "none":
        from cckeras.training.distribution import start_processes

        start_processes(distribute)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what native code writes to standard error while it is loaded."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def check_writable(path: str | None, flag: str = "json") -> None:
    """Check that a flag's file can be written, before long work.

    Raises:
        InputError: if its folder is missing or not writable.
    """
    if path is None:
        return
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(
            f"Expected --{flag}={path} to be a file. Received: a folder. Name a "
            "file in it."
        )
    missing = not target.parent.is_dir()
    if missing or not os.access(target.parent, os.W_OK):
        raise InputError(
            f"Expected --{flag}={path} in a writable folder. Received: "
            f"{target.parent}, which is {'no folder' if missing else 'not'}. "
            "Choose another file."
        )


def open_learned(path: str):
    """Return the `RunRecords` of a run with at least one learned task.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    from cckeras.runs.records import RunRecords

    run = RunRecords.open(path)
    if not run.records:
        raise InputError(
            f"Expected a run with learned tasks. Received: {path}, which has "
            "none yet. Train it first."
        )
    return run


def open_with_data(folder: str, data_dir: str | None):
    """Return a `Run` and the `Benchmark` that it learns; after
    `start_backend`.

    The benchmark lacks a first task whose weights came without pictures: there
    may be none.

    Raises:
        InputError: if the run is damaged, or the data are not there.
    """
    from cckeras.benchmarks import benchmark
    from cckeras.runs.run import Run

    run = Run.open(folder)
    whole = benchmark(run.settings["benchmark"])(run.config, data_dir)
    without = {own["name"] for own in run.records if own["data"] is None}
    return run, dataclasses.replace(
        whole, tasks=tuple(name for name in whole.tasks if name not in without)
    )


def changed_data(names: Sequence[str]) -> str:
    """Return what to tell of tasks whose data are no longer those that they
    were trained with."""
    return (
        f"note: other data than in training: {', '.join(names)}. Pictures that "
        "were learned may be among those for the test now, and accuracies too "
        "high; for figures to rely on, train a new run."
    )


def write_json(path: str | None, schema_name: str, value: dict) -> None:
    """Write a command's result, checked against its schema, if asked to."""
    if path is None:
        return
    from cckeras.runs import files
    from cckeras.schemas import check_schema

    check_schema(schema_name, value, path)
    files.replace_file(Path(path).resolve(), files.dump_json(value))
