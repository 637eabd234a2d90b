"""Continual-learning methods, registered by name (CONTRIBUTING.md)."""

from cckeras.errors import choose
from cckeras.methods.condconv import CondConv
from cckeras.methods.finetune import Finetune
from cckeras.methods.linear_probe import LinearProbe
from cckeras.methods.scratch import Scratch

METHODS = {
    "condconv": CondConv,
    "scratch": Scratch,
    "finetune": Finetune,
    "linear_probe": LinearProbe,
}


def method_class(name: str):
    """Return the class of a method.

    Raises:
        InputError: if there is none of that name.
    """
    return METHODS[choose("method", name, METHODS)]
