"""A task's owned elements as safetensors, and back."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load, save

from cckeras.ownership import Ownership

WHERE = "@where"


def pack(ledger: Ownership, task: int, values) -> bytes:
    """Return the safetensors file of the elements that a task owns.

    A variable owned in part is stored as the values of its owned elements,
    in C order, beside a bit mask that says which they are.
    """
    tensors = {}
    for name, mask in ledger.owned(task).items():
        array = np.asarray(values[name], order="C")
        if not isinstance(mask, bool):
            tensors[name + WHERE] = np.packbits(mask)
            array = array[mask]
        tensors[name] = array
    return save(tensors)


def unpack(ledger: Ownership, task: int, content: bytes, values) -> dict:
    """Return `{variable: array}` of a stored file.

    Args:
        ledger: who owns what; masks in the file must agree with it.
        task: number of the task.
        content: what `pack` returned.
        values: current values, for the elements that others own.

    Raises:
        ValueError: if the file does not hold exactly what the task owns.
    """
    stored = load(content)
    arrays = {}
    for name, mask in ledger.owned(task).items():
        if name not in stored:
            raise ValueError(f"the variable {name!r} is missing")
        array = stored.pop(name)
        whole = isinstance(mask, bool)
        shape = ledger.shape(name) if whole else (int(mask.sum()),)
        if not whole:
            where = stored.pop(name + WHERE, None)
            if where is None or not np.array_equal(where, np.packbits(mask)):
                raise ValueError(f"the owned elements of {name!r} differ")
        if array.shape != shape:
            raise ValueError(
                f"the variable {name!r}: expected shape {shape}, received "
                f"{array.shape}"
            )
        if str(array.dtype) != str(values[name].dtype):
            raise ValueError(
                f"the variable {name!r}: expected {values[name].dtype}, "
                f"received {array.dtype}"
            )
        if not whole:
            owned, array = array, np.array(values[name])
            array[mask] = owned
        arrays[name] = array
    if stored:
        raise ValueError(f"the variable {next(iter(stored))!r} is unknown")
    return arrays
