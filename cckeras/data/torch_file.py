"""Tensors of a PyTorch weights file, read without PyTorch.

A pickle may run any code. So the file's SHA-256 is compared first, and what
reads it knows four names and refuses every other one.
"""

from __future__ import annotations

import collections
import hashlib
import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cckeras.errors import InputError, reason

# The format before PyTorch 1.6: pickles of these two numbers, of the writer's
# sizes, of the tensors and of the storages' keys; then for each storage an
# int64 count and little-endian numbers.
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor's numbers are in a storage; all counted in numbers."""

    storage: tuple
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Return `{name: array}` of a file of float32 and int64 tensors.

    Args:
        path: the file.
        sha256: what its SHA-256 must be, in hexadecimal digits.

    Raises:
        InputError: if it cannot be read or is another file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected the weights file {path}. Received: {error.strerror}. "
            "Install its package again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(
            f"Expected {path} to have the SHA-256 {sha256[:16]}... Received: "
            f"{found[:16]}..., another or a damaged file. Install its package "
            "again."
        )
    return parse_torch_file(content, str(path))


def parse_torch_file(content: bytes, name: str) -> dict[str, np.ndarray]:
    """Return `{name: array}` of the content of such a file.

    Args:
        content: of the file.
        name: what errors call it.

    Raises:
        InputError: if it is of another format, names anything else to be
            loaded, or ends too early.
    """
    stream = io.BytesIO(content)
    try:
        head = [_Unpickler(stream).load() for _ in range(3)]
        if head[:2] != [MAGIC, PROTOCOL]:
            raise ValueError("another format")
        tensors = _Unpickler(stream).load()
        keys = _Unpickler(stream).load()
        return _arrays(tensors, keys, stream)
    # Whatever a pickle can make go wrong.
    except Exception as error:
        raise InputError(
            f"Expected {name} to hold PyTorch tensors in the format before "
            f"1.6. Received: {reason(error)}. Use the original file."
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"the name {module}.{name}")

    def persistent_load(self, pid):
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"a reference to {kind!r}")
        return dtype, key, count


def _tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _arrays(tensors, keys, stream):
    kinds = {tensor.storage[1]: tensor.storage for tensor in tensors.values()}
    if set(keys) != set(kinds):
        raise ValueError("tensors and storages that do not agree")
    storages = {}
    for key in keys:
        dtype, _, count = kinds[key]
        stored = int.from_bytes(stream.read(8), "little", signed=True)
        data = stream.read(count * dtype.itemsize)
        if stored != count or len(data) != count * dtype.itemsize:
            raise ValueError(f"{len(data)} bytes of the storage {key!r}")
        storages[key] = np.frombuffer(data, dtype)
    if stream.read(1):
        raise ValueError("more bytes than tensors")
    return {
        name: _part(storages[tensor.storage[1]], tensor)
        for name, tensor in tensors.items()
    }


def _part(storage, tensor):
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((0, *strides, *shape)) < 0:
        raise ValueError("a tensor without a shape")
    last = tensor.offset + sum(
        (length - 1) * stride
        for length, stride in zip(shape, strides, strict=True)
    )
    size = math.prod(shape)
    fits = 0 <= tensor.offset <= last < len(storage)
    if not (fits and 0 < size <= len(storage)):
        raise ValueError("a tensor outside its storage")
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        shape,
        [stride * storage.itemsize for stride in strides],
        writeable=False,
    ).copy()
