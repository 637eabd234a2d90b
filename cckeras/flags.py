"""The command line of a command: flags, recipe changes, arguments."""

from __future__ import annotations

import itertools
import re
import textwrap

from absl import flags

from cckeras.errors import InputError, nearest
from cckeras.schemas import schema

CONFIG_FLAG = re.compile(r"--?config\.([^=]+)(?:=(.*))?", re.DOTALL)
MOST_THREADS = 1024
WIDTH = 80


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

    def add_decimal(self, name, default, help_text, lower, upper=None):
        """Define a flag that takes a number within bounds."""
        parser = _Number(name, lower, upper, float)
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
            if flag.help:
                lines.append(_described(flag))
        if self.configurable:
            keys = textwrap.fill(
                ", ".join(schema("config")["properties"]),
                WIDTH,
                initial_indent="  ",
                subsequent_indent="  ",
            )
            lines += [
                "  --config.KEY   change one value of the recipe, of those of the",
                "                 benchmark and method:",
                keys,
            ]
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
        matches, advice = nearest(name, list(self.values)), ""
        if self.configurable:
            advice = (
                " A value of the recipe is changed with --config.KEY=VALUE."
            )
            if name in schema("config")["properties"]:
                matches = f" Did you mean '--config.{name}'?"
        return InputError(
            f"Expected a flag of {self.command}. Received: --{name}."
            f"{matches}{advice} Try --help."
        )


def _described(flag):
    """Return a flag's lines of the help text."""
    known = flag.default is not None and not flag.boolean
    text = f"{flag.help} [{flag.default}]" if known else flag.help
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  --{flag.name:<12} ",
        subsequent_indent=" " * 17,
    )


class _Number(flags.ArgumentParser):
    """Reads a number within bounds; the error names the flag."""

    def __init__(self, name, lower, upper, kind=int):
        super().__init__()
        self.kind = kind
        self.name, self.lower, self.upper = name, lower, upper

    def parse(self, argument):
        try:
            number = self.kind(argument)
        except ValueError:
            number = None
        if (
            number is None
            or not number >= self.lower  # As NaN is.
            or (self.upper is not None and number > self.upper)
        ):
            bounds = (
                f"of {self.lower} or more"
                if self.upper is None
                else f"in {self.lower}..{self.upper}"
            )
            what = "an integer" if self.kind is int else "a number"
            raise InputError(
                f"Expected --{self.name} to be {what} {bounds}. Received: "
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
