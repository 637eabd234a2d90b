"""Runs `cckeras.train` in processes that find TensorFlow imported already.

`python -m tests.runs.fork_server` reads a line of JSON, [log file, arguments,
fatal operation], forks, and writes the process's number; when that ends it
writes how. Importing takes longer than a small training: without this, a kill
at a random moment would nearly always hit the import. The process is forked
before TensorFlow has computed anything and while there is one thread, and then
runs the command as it is.

A file operation can be fatal: the process kills itself before it, after it, or
when it has written half.
"""

import json
import os
import signal
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

    def kill_after(self, seconds) -> bool:
        """Kill the process then; return whether it was still running."""
        end = self.started + seconds
        while time.monotonic() < end and not self._is_zombie():
            time.sleep(min(0.01, max(0, end - time.monotonic())))
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def _is_zombie(self):
        # Nobody has waited for it yet: the server does so and answers then,
        # but the answer is read in `wait` alone.
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return True
        return text.rpartition(")")[2].split()[0] == "Z"


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

    def start(self, log: Path, arguments: list[str], fatal=None) -> Command:
        """Start the command.

        Args:
            log: file for what it prints.
            arguments: its arguments.
            fatal: `(number, folder, how)`: at the file operation of this number,
                from 1, in the folder `"training"`, or `"elsewhere"` in the
                run, the process ends `"before"`, `"within"` or `"after"`.
        """
        line = json.dumps([str(log), arguments, fatal])
        self.process.stdin.write(line + "\n")
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
        log, arguments, fatal = json.loads(line)
        pid = os.fork()
        if pid == 0:
            if fatal is not None:
                _make_fatal(*fatal)
            _run(log, arguments)
        print(json.dumps(pid), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def _make_fatal(number, folder, how):
    from cckeras.runs import files

    left = [number]

    def wrap(name):
        real = getattr(files, name)

        def operation(path, *rest):
            in_training = "training" in path.parts
            left[0] -= in_training == (folder == "training")
            if left[0] != 0:
                return real(path, *rest)
            if how == "within" and name == "write":
                path.write_bytes(rest[0][: len(rest[0]) // 2])
            elif how == "after":
                real(path, *rest)
            return os.kill(os.getpid(), signal.SIGKILL)

        setattr(files, name, operation)

    for name in ("write", "sync_folder", "rename", "remove"):
        wrap(name)


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
