"""What every command shares: flags, exit codes, JSON output, the backend."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import flags

from cckeras.errors import CheckError, InputError, nearest

CONFIG_FLAG = re.compile(r"--?config\.([^=]+)(?:=(.*))?", re.DOTALL)


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
        flags.DEFINE_integer(
            name, default, help_text, lower, upper, self.values
        )

    def add_switch(self, name, help_text):
        """Define a flag that is off unless given."""
        flags.DEFINE_bool(name, False, help_text, self.values)

    def add_threads(self):
        """Define `--threads`."""
        self.add_number(
            "threads", 0, "processor threads to compute with; 0 for all", 0
        )

    def parse(self, arguments: list[str]) -> list[str]:
        """Parse a command line; return its positional arguments.

        Raises:
            InputError: for unknown flags, bad values, and too few or too many
                positional arguments.
            SystemExit: after printing the help text.
        """
        if any(word in ("--help", "-h", "-help") for word in arguments):
            print(self.usage())
            raise SystemExit(0)
        rest = self._take_config(arguments)
        try:
            given = self.values([self.command, *rest])[1:]
        except flags.UnrecognizedFlagError as error:
            known = [name for name in self.values if len(name) > 1]
            raise InputError(
                f"Expected a flag of {self.command}. Received: "
                f"--{error.flagname}.{nearest(error.flagname, known)} "
                f"Try --help."
            ) from error
        except flags.Error as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{reason}. Try --help.") from error
        many = bool(self.positional) and self.positional[-1].endswith("...")
        least = sum(not name.startswith("[") for name in self.positional)
        if len(given) < least or (
            len(given) > len(self.positional) and not many
        ):
            raise InputError(
                f"Expected {self.command} {' '.join(self.positional)}. "
                f"Received: {len(given)} arguments. Try --help."
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
            default = "" if flag.default is None else f" [{flag.default}]"
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
            if value is None:
                raise InputError(
                    f"Expected --config.{key}=VALUE. Received: no value."
                )
            self.config[key] = value
        return rest


def run_command(main: Callable[[list[str]], int | None]) -> None:
    """Run a command and exit with its code (docs/design.md).

    0 done, 1 a check failed, 2 bad input or usage, 130 interrupted; failures
    are one line on standard error.
    """
    try:
        code = main(sys.argv[1:]) or 0
    except InputError as error:
        code = _fail(2, str(error))
    except CheckError as error:
        code = _fail(1, str(error))
    except KeyboardInterrupt:
        code = _fail(130, "interrupted; the same command goes on from here")
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        code = 0
    except OSError as error:
        advice = (
            "Make room and run the same command again"
            if error.errno == errno.ENOSPC
            else "Check the path and its permissions"
        )
        where = f" {error.filename}" if error.filename else ""
        code = _fail(
            2,
            "Expected to be able to read and write files. Received: "
            f"{error.strerror}{where}. {advice}.",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # Data threads may still be inside a native library; ending here spares
    # them its teardown.
    os._exit(code)


def _fail(code, text):
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
    backend = os.environ.get("KERAS_BACKEND")
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
            f"jax. Received: {backend!r}, installed: "
            f"{', '.join(installed) or 'none'}. Try: pip install tensorflow"
        )
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax" and threads:
        # Read by XLA's CPU client when it makes its thread pool.
        os.environ["NPROC"] = str(threads)
    with _silenced():
        if backend == "tensorflow":
            import tensorflow as tf

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
    folder = Path(path).resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            f"Expected --json={path} in a writable folder. Received: {folder} "
            "is not. Choose another file."
        )


def write_json(path: str | None, schema_name: str, value: dict) -> None:
    """Write a command's result, checked against its schema, if asked to."""
    if path is None:
        return
    from cckeras.runs import files
    from cckeras.schemas import check_schema

    check_schema(schema_name, value, path)
    files.replace_file(Path(path).resolve(), files.dump_json(value))
