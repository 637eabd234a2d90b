"""What every command shares: flags, exit codes, JSON output, the backend."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import flags

from cckeras.allocator import keep_freed_memory
from cckeras.errors import CheckError, InputError, nearest

CONFIG_FLAG = re.compile(r"--?config\.([^=]+)(?:=(.*))?", re.DOTALL)
MOST_THREADS = 1024


class Flags:
    """A command's own flags; nothing global.

    Args:
        command: as typed, for the help text.
        help_text: what it does, with an example.
        positional: names of the positional arguments, `"IMAGE..."` for many.
        configurable: whether `--config.KEY=VALUE` is accepted.
    """

    def __init__(self, command, help_text, positional=(), configurable=False):
        self.command = command
        self.help_text = help_text
        self.positional = positional
        self.configurable = configurable
        self.values = flags.FlagValues()
        self.config: dict[str, str] = {}
        self.add_text("json", None, "also write the result to this file")

    def add_text(self, name, default, help_text):
        """Define a flag that takes text."""
        flags.DEFINE_string(name, default, help_text, self.values)

    def add_number(self, name, default, help_text, lower, upper=None):
        """Define a flag that takes an integer within bounds."""
        parser = _Number(name, lower, upper)
        flags.DEFINE(parser, name, default, help_text, self.values)

    def add_switch(self, name, help_text):
        """Define a flag that is off unless given."""
        flag = flags.Flag(
            _Switch(name),
            flags.ArgumentSerializer(),
            name,
            False,
            help_text,
            boolean=True,
        )
        flags.DEFINE_flag(flag, self.values)

    def add_threads(self):
        """Define `--threads`."""
        self.add_number(
            "threads",
            0,
            "processor threads to compute with; 0 for all",
            0,
            MOST_THREADS,
        )

    def parse(self, arguments: list[str]) -> list[str]:
        """Parse a command line; return its positional arguments.

        Raises:
            InputError: for unknown flags, bad values, and too few or too many
                positional arguments.
            SystemExit: after printing the help text.
        """
        if any(word in ("--help", "-h", "-help") for word in arguments):
            print(self.usage(), flush=True)
            raise SystemExit(0)
        rest = self._take_config(arguments)
        self._check_values(rest)
        try:
            given = self.values([self.command, *rest])[1:]
        except flags.UnrecognizedFlagError as error:
            raise self._unknown(error.flagname) from error
        except (flags.Error, ValueError) as error:
            raise InputError(
                f"Expected flags as --help shows them. Received: {error}."
            ) from error
        many = bool(self.positional) and self.positional[-1].endswith("...")
        if len(given) < len(self.positional) or (
            len(given) > len(self.positional) and not many
        ):
            expected = " ".join(self.positional) or "no arguments but flags"
            received = ", ".join(map(repr, given)) or "none"
            raise InputError(
                f"Expected {self.command} with {expected}. Received: "
                f"{received}. Try --help."
            )
        return given

    def usage(self) -> str:
        """Return the help text with all flags."""
        lines = [self.help_text.strip(), "", "Flags:"]
        own = self.values.flags_by_module_dict()
        for flag in sorted(
            {
                flag.name: flag for group in own.values() for flag in group
            }.values(),
            key=lambda flag: flag.name,
        ):
            default = f" [{flag.default}]" if flag.default else ""
            lines.append(f"  --{flag.name:<12} {flag.help}{default}")
        if self.configurable:
            lines.append("  --config.KEY   change one value of the recipe")
        return "\n".join(lines)

    def __getattr__(self, name):
        return self.values[name].value

    def _take_config(self, arguments):
        if not self.configurable:
            return arguments
        rest, words = [], iter(arguments)
        for word in words:
            match = CONFIG_FLAG.fullmatch(word)
            if match is None:
                rest.append(word)
                continue
            key, value = match.groups()
            if value is None:
                value = next(words, None)
            if value is None or value.startswith("--"):
                raise self._no_value(f"config.{key}")
            self.config[key] = value
        return rest

    def _check_values(self, arguments):
        """Check that no flag takes the next flag for its value."""
        for word, following in itertools.pairwise([*arguments, "--"]):
            name = word.lstrip("-")
            if word == "--":
                return
            if (
                word.startswith("-")
                and name in self.values
                and not self.values[name].boolean
                and following.startswith("--")
            ):
                raise self._no_value(name)

    def _no_value(self, name):
        return InputError(
            f"Expected --{name}=VALUE. Received: no value. Try --help."
        )

    def _unknown(self, name):
        matches = nearest(name, list(self.values))
        advice = (
            " A value of the recipe is changed with --config.KEY=VALUE."
            if self.configurable
            else ""
        )
        return InputError(
            f"Expected a flag of {self.command}. Received: --{name}."
            f"{matches}{advice} Try --help."
        )


class _Number(flags.ArgumentParser):
    """Reads an integer within bounds; the error names the flag."""

    def __init__(self, name, lower, upper):
        super().__init__()
        self.name, self.lower, self.upper = name, lower, upper

    def parse(self, argument):
        try:
            number = int(argument)
        except ValueError:
            number = None
        if (
            number is None
            or number < self.lower
            or (self.upper is not None and number > self.upper)
        ):
            bounds = (
                f"of {self.lower} or more"
                if self.upper is None
                else f"in {self.lower}..{self.upper}"
            )
            raise InputError(
                f"Expected --{self.name} to be an integer {bounds}. Received: "
                f"{argument!r}. Try --help."
            )
        return number


class _Switch(flags.BooleanParser):
    """Reads what a switch is set to; the error names the flag."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def parse(self, argument):
        try:
            return super().parse(argument)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Expected --{self.name} or --no{self.name}. Received: "
                f"--{self.name}={argument}. Try --help."
            ) from error


def run_command(main: Callable[[list[str]], int | None]) -> None:
    """Run a command with the process's arguments and exit with its code."""
    code = exit_code(main, sys.argv[1:])
    sys.stderr.flush()
    # Data threads may still be inside a native library; ending here spares
    # them its teardown.
    os._exit(code)


def exit_code(
    main: Callable[[list[str]], int | None], arguments: list[str]
) -> int:
    """Run a command; return its exit code (docs/design.md).

    0 done, 1 a check failed, 2 bad input or usage, 130 interrupted; failures
    are one line on standard error.
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
    return code


def _fail(code, text):
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


def start_backend(threads: int = 0) -> None:
    """Load Keras on the chosen backend with a number of threads, silently.

    The backend is `KERAS_BACKEND`, else TensorFlow, or JAX where TensorFlow
    is not installed.

    Raises:
        InputError: if no backend is installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or None
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
    with _silenced():
        if backend == "tensorflow":
            keep_freed_memory()
            import tensorflow as tf

            if threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.list_logical_devices()
            # It warns of every second shape that a function is traced for.
            tf.get_logger().setLevel("ERROR")
        import keras  # noqa: F401


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
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


def check_writable(path: str | None) -> None:
    """Check that a `--json` file can be written, before long work.

    Raises:
        InputError: if its folder is missing or not writable.
    """
    if path is None:
        return
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(
            f"Expected --json={path} to be a file. Received: a folder. Name a "
            "file in it."
        )
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(
            f"Expected --json={path} in a writable folder. Received: "
            f"{target.parent}, which is not. Choose another file."
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


def write_json(path: str | None, schema_name: str, value: dict) -> None:
    """Write a command's result, checked against its schema, if asked to."""
    if path is None:
        return
    from cckeras.runs import files
    from cckeras.schemas import check_schema

    check_schema(schema_name, value, path)
    files.replace_file(Path(path).resolve(), files.dump_json(value))
