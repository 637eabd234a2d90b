"""What a file will say of itself."""

from __future__ import annotations

import hashlib

from cckeras.export import metadata
from cckeras.export.forms import Form
from cckeras.export.identify import CANDIDATES
from cckeras.export.identify import SIGNATURE as IDENTIFY
from cckeras.export.inspection import oldest_runtime
from cckeras.export.options import Options
from cckeras.export.static import Input
from cckeras.runs.run import Run


def describe(
    run: Run,
    source: Input,
    forms: dict[str, Form],
    places: dict[str, tuple[str, int | None]],
    options: Options,
    model: bytes,
    costs: dict[str, dict[str, float]],
) -> dict:
    """Return a file's metadata; how it compares with Keras is still missing.

    Args:
        run: the opened run.
        source: the networks' input.
        forms: `{task: its form}`, in the order of the file.
        places: `{task: (signature, index in the table or None)}`.
        options: how the tasks are exported.
        model: content of the `.tflite` file.
        costs: `{task: {form: latency to a folded network}}`, where measured.
    """
    tasks = []
    for name, form in forms.items():
        record = run.record(name)
        signature, index = places[name]
        tasks.append(
            {
                "name": name,
                "classes": record["classes"],
                "form": form.name,
                "ranks": form.ranks,
                "cost": costs.get(name, {}),
                "signature": signature,
                "index": index,
                "digest": record["digest"],
                "validation_accuracy": form.validation,
                "parity": None,
            }
        )
    return {
        "format": metadata.FORMAT,
        "run": run.settings["id"],
        "method": run.settings["method"],
        "benchmark": run.settings["benchmark"],
        "backbone": source.backbone,
        "input": {
            "name": "image",
            "shape": [1, source.size, source.size, 3],
            "range": [0, 255],
            "channels": "RGB",
        },
        "output": "probabilities",
        "quantization": options.quantization,
        "oldest_runtime": oldest_runtime(model),
        "model_bytes": len(model),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "operators_outside_xnnpack": {},
        "identify": {"signature": IDENTIFY, "candidates": CANDIDATES}
        if options.identify
        else None,
        "tasks": tasks,
    }
