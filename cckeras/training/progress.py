"""Progress of a training run, with the time that is left."""

from __future__ import annotations

import sys
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

QUIET_SECONDS = 10.0


def duration(seconds: float) -> str:
    """Return seconds as `12 s`, `3 min 20 s` or `2 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class RunProgress:
    """Shows every phase: epoch, accuracies, time left for task and run.

    A bar on a terminal; elsewhere a line at the first and last epoch and at
    most every ten seconds.

    Args:
        planned: `{task: phases}`, the number of phases of every task that is
            still to be learned, in order.
        epochs: epochs a phase.
    """

    def __init__(self, planned: dict[str, int], epochs: int):
        self.left = dict(planned)
        self.epochs = epochs
        self.bar = None
        self.console = Console(file=sys.stderr)
        self.seconds_per_epoch = None
        self._item = None

    def __enter__(self):
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(10),
                TextColumn("{task.fields[state]}", markup=False),
                console=self.console,
            )
            self.bar.start()
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.stop()

    def observe(self, task, data, phase) -> list[keras.callbacks.Callback]:
        """Return the callback that shows a phase (see `learn`)."""
        del data
        self.left[task.name] = max(self.left.get(task.name, 1) - 1, 0)
        return [_Shown(self, f"task {task.number} {task.name}, {phase.name}")]

    def measure(self, epoch: int, seconds: float) -> None:
        """Take the duration of an epoch (numbered from 1) into the estimate."""
        # A phase's first epoch includes compiling an evaluation: it counts
        # only until another has been seen.
        if epoch == 2 or self.seconds_per_epoch is None:
            self.seconds_per_epoch = seconds
        elif epoch > 2:
            self.seconds_per_epoch += 0.2 * (seconds - self.seconds_per_epoch)

    def show(self, title: str, epoch: int, epochs: int, logs: dict) -> None:
        """Show a finished epoch.

        Args:
            title: task and phase.
            epoch: number of finished epochs.
            epochs: epochs of the phase.
            logs: Keras' logs of the epoch.
        """
        phases = sum(self.left.values())
        rest = epochs - epoch
        task_left = duration(rest * self.seconds_per_epoch)
        run_left = duration(
            (rest + phases * self.epochs) * self.seconds_per_epoch
        )
        accuracy = f"{100 * logs['accuracy']:.1f} %"
        validation = ""
        if "val_accuracy" in logs:
            validation = f"{100 * logs['val_accuracy']:.1f} %"
        if self.bar is None:
            text = f"{title}: epoch {epoch}/{epochs}, accuracy {accuracy}"
            text += f", validation {validation}" if validation else ""
            text += f", left: phase {task_left}, run {run_left}"
            print(text, file=sys.stderr, flush=True)
            return
        # A terminal may have 80 columns, and the title takes some.
        shown = validation or accuracy
        state = f"{epoch}/{epochs}, {shown}, left {task_left}, run {run_left}"
        if self._item is None or self._item[0] != title:
            if self._item is not None:
                self.bar.remove_task(self._item[1])
            item = self.bar.add_task(title, total=epochs, state="")
            self._item = (title, item)
        self.bar.update(self._item[1], completed=epoch, state=state)


class _Shown(keras.callbacks.Callback):
    def __init__(self, progress, title):
        super().__init__()
        self.progress = progress
        self.title = title
        self.shown = 0.0
        self.started = time.monotonic()
        self.compiled = False

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if not self.compiled:
            # What the first step of all took says nothing of later ones.
            self.started, self.compiled = time.monotonic(), True

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        epochs = self.params["epochs"]
        self.progress.measure(epoch + 1, now - self.started)
        quiet = self.progress.bar is None and now - self.shown < QUIET_SECONDS
        if epoch + 1 < epochs and quiet:
            return
        self.shown = now
        self.progress.show(self.title, epoch + 1, epochs, logs)
