"""What commands print: tables, and what is being done meanwhile."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

NARROWEST = 80
# Before it, a command may have loaded Keras without a word.
FIRST_SECONDS, QUIET_SECONDS = 3.0, 10.0


def print_table(table: Table) -> None:
    """Print a table; where no terminal bounds its width, nothing is folded."""
    # Names and paths are the user's: brackets and colons in them are no markup.
    console = Console(markup=False, emoji=False, highlight=False)
    width = max(NARROWEST, console.width)
    if not console.is_terminal:
        options = console.options.update(width=sys.maxsize)
        width = max(width, Measurement.get(console, options, table).maximum)
    console.width = width
    console.print(table)


@contextlib.contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Yield a function that tells, on standard error, what is being done.

    In a terminal it stands beside a spinner; elsewhere there is a line only
    after three seconds and then every ten. Print nothing inside: the spinner takes it.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda text: status.update(Text(text))
        return
    now = ""
    done = threading.Event()

    def tell(text):
        nonlocal now
        now = text

    def remind():
        seconds = FIRST_SECONDS
        while not done.wait(seconds):
            seconds = QUIET_SECONDS
            if now:
                print(f"{now} ...", file=sys.stderr, flush=True)

    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield tell
    finally:
        done.set()
        reminder.join()
