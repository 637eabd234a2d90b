"""Weights files of PyTorch: tensors come out, and nothing else is run."""

import collections
import hashlib
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest

from cckeras.data.torch_file import MAGIC, PROTOCOL, read_torch_file
from cckeras.errors import InputError

ARRAYS = {
    "kernel": np.arange(24, dtype="<f4").reshape(4, 3, 2),
    "count": np.array(7, "<i8"),
}
STRIDES = {"kernel": (6, 2, 1), "count": ()}


class Tensor:
    """What is pickled as a tensor of PyTorch is."""

    def __init__(self, name, offset=0, strides=None, shape=None):
        self.array = ARRAYS[name]
        self.rest = (
            offset,
            self.array.shape if shape is None else shape,
            STRIDES[name] if strides is None else strides,
            False,
            collections.OrderedDict(),
        )
        self.storage = Storage(name, self.array)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, *self.rest)


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    """Modules of PyTorch's names, for pickles to point at."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    package.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    package.LongStorage = type("LongStorage", (), {"__module__": "torch"})

    def rebuild():
        """Never called: a name to point at."""

    rebuild.__module__, rebuild.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = rebuild
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return package


def content(tensors=None, magic=MAGIC, storages=tuple(ARRAYS)):
    """Return the content of a file of tensors, or of anything."""
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            torch = sys.modules["torch"]
            kind = {"f": torch.FloatStorage, "i": torch.LongStorage}
            array = value.array
            kind = kind[array.dtype.kind]
            return ("storage", kind, value.key, "cpu", array.size, None)

    if tensors is None:
        tensors = collections.OrderedDict((n, Tensor(n)) for n in ARRAYS)
    for part in (magic, PROTOCOL, {"little_endian": True}, tensors):
        Pickler(stream, 2).dump(part)
    Pickler(stream, 2).dump(list(storages))
    for key in storages:
        array = ARRAYS[key]
        stream.write(array.size.to_bytes(8, "little") + array.tobytes())
    return stream.getvalue()


def read(folder, data):
    path = folder / "weights.pth"
    path.write_bytes(data)
    return read_torch_file(path, hashlib.sha256(data).hexdigest())


def fails(folder, data, message):
    with pytest.raises(InputError, match=message) as caught:
        read(folder, data)
    text = str(caught.value)
    assert "\n" not in text
    assert "weights.pth" in text


def test_tensors_come_out(tmp_path):
    found = read(tmp_path, content())
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_strides_and_offset_are_followed(tmp_path):
    turned = Tensor("kernel", 1, (1, 6), (5, 3))
    found = read(tmp_path, content({"k": turned, "count": Tensor("count")}))
    storage = ARRAYS["kernel"].ravel()
    expected = [[storage[1 + i + 6 * j] for j in range(3)] for i in range(5)]
    np.testing.assert_array_equal(found["k"], expected)


def test_another_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(content())
    monkeypatch.setattr("cckeras.data.torch_file.parse_torch_file", None)
    with pytest.raises(InputError, match=r"SHA-256 0000.*Install its package"):
        read_torch_file(path, 64 * "0")
    with pytest.raises(InputError, match="No such file"):
        read_torch_file(tmp_path / "none.pth", 64 * "0")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("was_here",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(tmp_path, content(Hostile()), "the name posix.mkdir")
    fails(tmp_path, content({"kernel": Hostile()}), "the name")
    fails(tmp_path, content(magic=Hostile()), "the name")
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize("name", ["torch.load", "builtins.eval", "os.system"])
def test_four_names_are_known(tmp_path, name):
    module, _, rest = name.rpartition(".")
    data = f"c{module}\n{rest}\n.".encode()
    fails(tmp_path, data, f"the name {name}")


def test_every_cut_is_refused(tmp_path):
    data = content()
    for length in range(len(data)):
        fails(tmp_path, data[:length], "Received: ")
    fails(tmp_path, data + b"x", "more bytes")


@pytest.mark.parametrize(
    "tensor",
    [
        lambda: Tensor("kernel", 1),
        lambda: Tensor("kernel", -1),
        lambda: Tensor("kernel", 0, (6, 2, 2)),
        lambda: Tensor("kernel", 0, (-6, 2, 1)),
        lambda: Tensor("kernel", 0, (6, 2)),
        lambda: Tensor("kernel", 0, (6, 2, 1), (-4, 3, 2)),
        lambda: Tensor("kernel", 0, (6, 2, 1), (0, 3, 2)),
        lambda: Tensor("kernel", 0, (0, 0), (10**6, 10**6)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, tensor):
    tensors = {"kernel": tensor(), "count": Tensor("count")}
    fails(tmp_path, content(tensors), "a tensor")


def test_other_storages_are_refused(tmp_path):
    fails(tmp_path, content(storages=["kernel"]), "do not agree")
    fails(tmp_path, content(magic=1), "another format")
    fails(tmp_path, b"", "EOFError")
