"""Named tensors of somebody else's file, each checked before it is used."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from cckeras.errors import InputError, reason

DAMAGED = "a damaged or truncated file"
AGAIN = "Fetch or save it again."


@dataclass(frozen=True)
class Tensor:
    """A tensor that has not been read yet.

    Args:
        shape: as the file states it.
        dtype: its NumPy name, or what the file calls it.
        read: returns the array.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


class TensorFile:
    """The tensors of a weights file, and which of them were taken.

    Args:
        path: what errors call the file.
        tensors: by name.
        network: whose weights they should be, for errors.
    """

    def __init__(self, path, tensors: dict[str, Tensor], network: str):
        self.path = path
        self.tensors = tensors
        self.network = network
        self._left = set(tensors)

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Return a tensor's shape without reading it.

        Raises:
            InputError: if it is missing, or has not `rank` axes.
        """
        if name not in self.tensors:
            raise self._error(name, "be there", "none of that name")
        shape = self.tensors[name].shape
        if len(shape) != rank:
            raise self._error(name, f"have {rank} axes", f"shape {shape}")
        return shape

    def take(self, name: str, shape, least: float = -math.inf) -> np.ndarray:
        """Return a tensor as float32.

        Args:
            name: of the tensor.
            shape: that it must have.
            least: its smallest value must not be below.

        Raises:
            InputError: that names the tensor, if it is missing, damaged, of
                another shape or type, or has a value that is not finite.
        """
        shape = tuple(shape)
        found = self.shape(name, len(shape))
        if found != shape:
            raise self._error(name, f"have shape {shape}", f"shape {found}")
        tensor = self.tensors[name]
        if tensor.dtype not in ("float16", "float32", "float64"):
            raise self._error(
                name,
                "be float32, float16 or float64",
                tensor.dtype,
                "Save it as float32.",
            )
        try:
            array = np.asarray(tensor.read(), np.float32)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise damaged(self.path, error, name) from error
        if not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)].flat[0]
            raise self._error(name, "be finite", f"the value {wrong}", AGAIN)
        if array.min() < least:
            raise self._error(
                name, f"be {least:g} or more", f"the value {array.min()}", AGAIN
            )
        self._left.discard(name)
        return array

    def check_nothing_is_left(self, ignored: str | tuple = ()) -> None:
        """Check that every tensor was taken: else it is another network's.

        Args:
            ignored: what names of tensors without a meaning here end with.

        Raises:
            InputError: that names one.
        """
        left = sorted(n for n in self._left if not n.endswith(ignored))
        if left:
            raise InputError(
                f"Expected {self.path} to hold the tensors of {self.network} "
                f"and no others. Received: {left[0]!r}, too. Give the file of "
                "that network."
            )

    def _error(self, name, expected, received, advice=None):
        advice = advice or f"Give a file of {self.network}."
        return InputError(
            f"Expected the tensor {name!r} of {self.path} to {expected}, as in "
            f"{self.network}. Received: {received}. {advice}"
        )


@contextlib.contextmanager
def open_safetensors(path: Path) -> Iterator[dict[str, Tensor]]:
    """Open a safetensors file: `{name: Tensor}`, to be read while it is open.

    Raises:
        InputError: if it is damaged.
    """
    numpy_names = {"F16": "float16", "F32": "float32", "F64": "float64"}
    try:
        file = safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error
    with file:
        tensors = {}
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            dtype = part.get_dtype()
            tensors[name] = Tensor(
                tuple(part.get_shape()),
                numpy_names.get(dtype, dtype),
                lambda name=name: file.get_tensor(name),
            )
        yield tensors


def damaged(path, error: Exception, name: str | None = None) -> InputError:
    """Return the error for a file, or a tensor of it, that cannot be read."""
    what = f"the tensor {name!r} of {path}" if name else f"{path}"
    return InputError(
        f"Expected {what} to be readable. Received: {DAMAGED} ({reason(error)}). "
        f"{AGAIN}"
    )
