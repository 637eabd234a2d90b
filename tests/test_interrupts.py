"""Ctrl-C at the moments at which native code would lose it or crash."""

import pytest

from tests.backend import tensorflow_only
from tests.command import run_process

PROGRAM = """
import gc, signal, sys, time
from cckeras.interrupts import keep_interrupts

keep_interrupts()

def press():
    signal.raise_signal(signal.SIGINT)

def main():
{body}

try:
    main()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
PLAIN = "    press()"
DROPPED = """
    gc.callbacks.append(lambda *_: press())
    gc.collect()
    gc.callbacks.clear()
"""
IN_TENSORFLOW = """
    import tensorflow as tf

    def watch(frame, event, _):
        code = frame.f_code
        if (event, code.co_name) == ("call", "_handle"):
            assert code.co_filename.endswith("eager/context.py")
            sys.setprofile(None)
            # As the interpreter does where a signal finds it in this frame.
            signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)

    tf.constant(1.0)
    sys.setprofile(watch)
    # It dies of a segmentation fault with Python's own handler.
    tf.constant(2.0)
    assert sys.getprofile() is None
    print("went on")
"""


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        pytest.param(PLAIN, "interrupted\n", id="plain"),
        pytest.param(DROPPED, "interrupted\n", id="dropped"),
        pytest.param(
            IN_TENSORFLOW,
            "went on\ninterrupted\n",
            marks=tensorflow_only,
            id="in TensorFlow",
        ),
    ],
)
def test_every_interrupt_arrives(body, printed):
    outcome = run_process("-c", PROGRAM.format(body=body))
    assert (outcome.code, outcome.out) == (0, printed), outcome.error


def test_what_else_is_dropped_is_reported():
    body = """
    class Loud:
        def __del__(self):
            raise OSError("dropped")
    Loud()
    press()
"""
    outcome = run_process("-c", PROGRAM.format(body=body))
    assert (outcome.code, outcome.out) == (0, "interrupted\n")
    assert "OSError: dropped" in outcome.error


def test_an_ignored_interrupt_stays_ignored():
    body = """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_interrupts()
    press()
    print("ignored")
    sys.exit()
"""
    outcome = run_process("-c", PROGRAM.format(body=body))
    assert (outcome.code, outcome.out) == (0, "ignored\n"), outcome.error
