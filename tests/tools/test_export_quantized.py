"""tools/export_tflite.py --quantize: sizes, accuracy, what is refused."""

import pytest

from cckeras.export import metadata
from cckeras.names import QUANTIZATIONS
from tests.command import run
from tests.tools.tool import load

pytest_plugins = ("tests.small_run",)

TOOL = load("export_tflite")


def export(digits_run, path, *options):
    return run(TOOL.main, digits_run.path, f"--output={path}", *options)


@pytest.fixture(scope="module")
def folded(digits_run, tmp_path_factory):
    """Metadata of the folded file in every quantization."""
    folder = tmp_path_factory.mktemp("quantized")
    found = {}
    for name in QUANTIZATIONS:
        path = folder / f"{name}.tflite"
        done = export(
            digits_run, path, "--routing=folded", f"--quantize={name}"
        )
        assert done.code == 0, done.error
        found[name] = metadata.read(path)
    return found


@pytest.mark.parametrize(
    ("name", "size"),
    [("float16", 0.55), ("int8_weights", 0.35), ("int8", 0.35)],
)
def test_it_is_smaller_and_as_accurate(folded, name, size):
    plain, small = folded["none"], folded[name]
    assert small["quantization"] == name
    # A twentieth beyond the share of a weight's bytes is for the rest.
    assert small["model_bytes"] <= size * plain["model_bytes"]
    for one, other in zip(plain["tasks"], small["tasks"], strict=True):
        drop = one["parity"]["accuracy"] - other["parity"]["accuracy"]
        assert drop <= 2.5  # Of some 90 test images, two.


@pytest.mark.parametrize("name", ["float16", "int8_weights"])
def test_the_table_of_routers_survives(digits_run, tmp_path, name):
    path = tmp_path / "exact.tflite"
    done = export(digits_run, path, "--routing=exact", f"--quantize={name}")
    assert done.code == 0, done.error
    for task in metadata.read(path)["tasks"]:
        assert task["form"] == "exact"
        parity = task["parity"]
        assert parity["accuracy"] >= parity["keras_accuracy"] - 2.5


def test_int8_needs_constant_kernels(digits_run, tmp_path):
    path = tmp_path / "exact.tflite"
    done = export(digits_run, path, "--routing=exact", "--quantize=int8")
    assert done.code == 2
    assert "--quantize=int8_weights" in done.error
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_quantization(digits_run, tmp_path):
    done = export(digits_run, tmp_path / "a.tflite", "--quantize=int9")
    assert done.code == 2
    assert "Did you mean 'int8'" in done.error
