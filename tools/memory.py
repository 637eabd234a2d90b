"""Peak memory: of this process, and of a tool's part in one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Return the peak memory of this process in 10^6 bytes."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # In bytes on macOS, in KiB elsewhere.
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def resident_memory_mb() -> float | None:
    """Return what this process has in memory now, in 10^6 bytes; None where
    the system does not say."""
    try:
        return _status("VmRSS")
    except OSError:
        return None


def _status(field):
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(rf"{field}:\s*(\d+) kB", status)[1]) * 1024 / 1e6


def memory_of(tool: str, *arguments: str) -> float:
    """Run a tool that prints its own peak memory; return it in 10^6 bytes."""
    done = subprocess.run(
        [sys.executable, tool, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)
