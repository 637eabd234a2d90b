"""The wheel: whole, and enough by itself to learn from an empty folder."""

import ast
import json
import shutil
import site
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.command import ROOT, environment


def packages():
    """Return `{package: folder}` of all folders with modules."""
    folders = {"cckeras.configs": ROOT / "configs"}
    for path in (ROOT / "cckeras").rglob("__init__.py"):
        name = ".".join(path.parent.relative_to(ROOT).parts)
        folders[name] = path.parent
    return folders


def test_setup_lists_every_package():
    tree = ast.parse((ROOT / "setup.py").read_text())
    (listed,) = (
        ast.literal_eval(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "packages"
    )
    assert listed == sorted(packages())
    # A folder of modules without `__init__.py` would be left out.
    folders = {path.parent for path in (ROOT / "cckeras").rglob("*.py")}
    assert folders <= set(packages().values())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("cckeras", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--no-index", "--wheel-dir", folder),
            source,
        ],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment with the wheel and the packages it needs."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True
    )
    python = folder / "bin" / "python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install"),
            *("--quiet", "--no-deps", "--no-index", wheel),
        ],
        check=True,
    )
    # What this environment has, but not its link to the checkout: a path in
    # a .pth file is searched, and .pth files in that path are not read.
    libraries = {sysconfig.get_path("purelib"), *site.getsitepackages()}
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "libraries.pth").write_text("\n".join(libraries))
    return python


@pytest.mark.slow
def test_the_wheel_holds_all_modules_recipes_and_schemas(wheel):
    expected = {
        f"{name.replace('.', '/')}/{path.name}"
        for name, folder in packages().items()
        for path in folder.iterdir()
        if path.suffix in (".py", ".json", ".tsv")
    }
    assert "cckeras/configs/digits5.py" in expected
    assert "cckeras/schemas/run.json" in expected
    with zipfile.ZipFile(wheel) as archive:
        found = {
            name for name in archive.namelist() if ".dist-info/" not in name
        }
    assert found == expected


@pytest.mark.slow
def test_an_installed_wheel_learns(installed, tmp_path):
    variables = environment()
    del variables["PYTHONPATH"]

    def run(*words):
        done = subprocess.run(
            [installed, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version, origin = run(
        "-c", "import cckeras; print(cckeras.__version__, cckeras.__file__)"
    ).split()
    assert version == project["version"]
    assert Path(origin).is_relative_to(installed.parents[1])
    run(
        *("-m", "cckeras.train", "--benchmark=digits5", "--run_dir=run"),
        *("--tasks=zero_one,two_three", "--json=train.json"),
        *("--config.epochs=1", "--config.decay_epochs=()"),
    )
    report = json.loads((tmp_path / "train.json").read_text())
    assert report["learned"] == ["zero_one", "two_three"]
    assert "(2 of 2)" in run("-m", "cckeras.verify", "run")
    run("-m", "cckeras.evaluate", "run")
    assert (tmp_path / "run/report/report.html").is_file()
