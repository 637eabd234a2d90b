"""What decides whether two computations may be compared bit for bit."""

from __future__ import annotations

import platform
from importlib import metadata

import keras


def environment(threads: int) -> dict:
    """Return backend, versions, processor and threads of this process."""
    backend = keras.backend.backend()
    package = {"tensorflow": "tensorflow", "jax": "jaxlib"}.get(
        backend, backend
    )
    return {
        "backend": backend,
        "backend_version": metadata.version(package),
        "keras": keras.version(),
        "processor": _processor(),
        "threads": threads,
    }


def _processor() -> str:
    """Return the processor's model and its vector extensions."""
    model, flags = platform.machine(), ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    model = value.strip()
                if key.strip() == "flags":
                    flags = " ".join(
                        flag
                        for flag in value.split()
                        if flag.startswith(("avx", "fma", "amx"))
                    )
                    break
    except OSError:
        pass
    return f"{model} [{flags}]" if flags else model
