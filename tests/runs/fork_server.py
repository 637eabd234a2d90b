"""Runs `cckeras.train` in processes that find TensorFlow imported already.

`python -m tests.runs.fork_server` reads a line of JSON, [log file, arguments],
forks, and writes the process's number; when that ends it writes how. Importing
takes longer than a small training: without this, a kill at a random moment
would nearly always hit the import. The process is forked before TensorFlow has
computed anything and while there is one thread, and then runs the command as
it is.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The pools of OpenMP and OpenBLAS are threads, too.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Command:
    """A running command."""

    def __init__(self, server, pid, log):
        self.server = server
        self.pid = pid
        self.log = log
        self.started = time.monotonic()
        self.code = None

    def wait(self) -> int:
        """Return the exit code, or minus the signal that ended it."""
        if self.code is None:
            self.code = self.server.answer()
            self.seconds = time.monotonic() - self.started
        return self.code

    def kill(self) -> bool:
        """Kill the process; return whether it was still running."""
        os.kill(self.pid, 9)
        return self.wait() == -9

    @property
    def ended(self) -> bool:
        return not os.path.exists(f"/proc/{self.pid}") or self.is_zombie

    @property
    def is_zombie(self) -> bool:
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return True
        return text.rpartition(")")[2].split()[0] in ("Z", "X")


class ForkServer:
    """A context that holds the imported process; one command at a time."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.runs.fork_server"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def start(self, log: Path, arguments: list[str]) -> Command:
        """Start the command; what it prints goes to the log file."""
        self.process.stdin.write(json.dumps([str(log), arguments]) + "\n")
        self.process.stdin.flush()
        return Command(self, self.answer(), log)

    def answer(self):
        return json.loads(self.process.stdout.readline())


def _serve():
    import importlib

    import psutil

    for name in (
        "cckeras.benchmarks",
        "cckeras.runs.verify",
        "cckeras.train",
        "cckeras.training.learn",
        "cckeras.training.progress",
        "rich.table",
    ):
        importlib.import_module(name)
    assert psutil.Process().num_threads() == 1
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        log, arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(log, arguments)
        print(json.dumps(pid), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def _run(log, arguments):
    from cckeras import train

    nowhere = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nowhere, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.argv = ["cckeras.train", *arguments]
    train.run_command(train.main)


if __name__ == "__main__":
    _serve()
