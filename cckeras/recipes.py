"""Recipes from configs/, changed by `--config.KEY=VALUE`, and checked."""

from __future__ import annotations

import ast
import importlib
import json
import math

import jsonschema

from cckeras.errors import InputError, choose, nearest
from cckeras.schemas import schema


def load_recipe(benchmark: str, method: str, changes: dict[str, str]) -> dict:
    """Return the resolved recipe as plain JSON data.

    Args:
        benchmark: names the file in configs/.
        method: passed to its `get_config`.
        changes: `{key: text}`, from the command line.

    Raises:
        InputError: for an unknown key, or a value of the wrong type or range.
    """
    module = importlib.import_module(f"cckeras.configs.{benchmark}")
    chosen = {}
    for key, values in getattr(module, "CHOICES", {}).items():
        if key in changes:
            chosen[key] = choose(f"--config.{key}", changes[key], values)
    config = module.get_config(method, **chosen)
    for key, text in changes.items():
        if key not in config and key in schema("config")["properties"]:
            raise InputError(
                f"Expected a --config key of {method} on {benchmark}. "
                f"Received: {key!r}, which only others have. Leave it out."
            )
        choose("a --config key", key, sorted(config))
        config[key] = _convert(key, text, config[key])
    resolved = json.loads(config.to_json())
    check_recipe(resolved)
    return resolved


def check_recipe(config: dict) -> None:
    """Check types and ranges of a resolved recipe (schemas/config.json).

    Raises:
        InputError: that names the key.
    """
    try:
        jsonschema.validate(config, schema("config"))
    except jsonschema.ValidationError as error:
        key = str(error.absolute_path[0]) if error.absolute_path else ""
        hint = ""
        if error.validator == "enum":
            hint = nearest(error.instance, error.validator_value)
            expected = f"one of {', '.join(error.validator_value)}"
        else:
            expected = error.schema.get("description", error.message)
        received = config[key] if key else error.instance
        raise InputError(
            f"Expected --config.{key} to be {expected}. Received: "
            f"{received!r}.{hint}"
        ) from error
    epochs = config["decay_epochs"]
    if epochs != sorted(set(epochs)):
        raise InputError(
            "Expected --config.decay_epochs to be in increasing order, each "
            f"once. Received: {tuple(epochs)}."
        )


def _convert(key, text, default):
    """Return the text as a value of the default's type."""
    if isinstance(default, str):
        return text
    kind = type(default)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list | int | float):
        value = tuple(value) if isinstance(value, list) else (value,)
    if kind is tuple and isinstance(value, tuple):
        return value
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise InputError(
            f"Expected --config.{key} to be of type {kind.__name__}, as "
            f"{default!r}. Received: {text!r}."
        )
    return value
