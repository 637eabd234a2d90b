"""JSON schemas of everything that a command writes or reads."""

from __future__ import annotations

import functools
import json
from importlib import resources

import jsonschema

from cckeras.errors import InputError


@functools.cache
def schema(name: str) -> dict:
    """Return a schema of this package, as `run`, `task` or `evaluate`."""
    text = (resources.files(__name__) / f"{name}.json").read_text("utf-8")
    return json.loads(text)


@functools.cache
def _validator(name):
    # `jsonschema.validate` would check the schema itself on every call.
    return jsonschema.Draft202012Validator(schema(name))


def check_schema(name: str, value, path) -> None:
    """Check a value against a schema.

    Raises:
        InputError: that names the file and the field.
    """
    error = jsonschema.exceptions.best_match(
        _validator(name).iter_errors(value)
    )
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path)
        where = f" in the field {field!r}" if field else ""
        reason = error.message if len(error.message) < 200 else error.validator
        raise InputError(
            f"Expected {path} to follow the schema {name!r}. Received: "
            f"{reason}{where}. Restore it from a copy."
        ) from error
