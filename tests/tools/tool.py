"""The tools as modules, to run their `main` in this process."""

import importlib.util
import sys

from tests.command import ROOT


def load(name):
    """Return the module of `tools/NAME.py`."""
    path = ROOT / "tools" / f"{name}.py"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # Where data classes look for it.
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
