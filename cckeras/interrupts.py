"""Ctrl-C where native code would lose it or crash."""

from __future__ import annotations

import os
import signal
import sys
import threading

# TensorFlow's C++ calls this property, and goes on with a null pointer if it is
# interrupted.
UNSAFE_FILE = os.path.join("tensorflow", "python", "eager", "context.py")
UNSAFE_NAME = "_handle"
SECONDS = 0.1


def keep_interrupts() -> None:
    """Let every Ctrl-C raise a `KeyboardInterrupt` that reaches the caller.

    A process that ignores it, as a shell's background jobs do, still does.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _report


def _interrupt(number, frame):
    code = frame and frame.f_code
    if (
        code
        and code.co_name == UNSAFE_NAME
        and code.co_filename.endswith(UNSAFE_FILE)
    ):
        _interrupt_soon()
    else:
        signal.default_int_handler(number, frame)


def _report(dropped):
    """Report what Python drops, but send a Ctrl-C once more: it comes from a
    callback of the garbage collector, which JAX has and TensorFlow loads."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        _interrupt_soon()
    else:
        sys.__unraisablehook__(dropped)


def _interrupt_soon():
    threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
