"""How tasks are exported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How tasks are exported.

    Args:
        routing: one of `cckeras.names.EXPORT_ROUTINGS`.
        max_accuracy_drop: points of validation accuracy that folding may cost
            with `auto`, on average over the tasks.
        quantization: one of `cckeras.names.QUANTIZATIONS`.
        target: `litert`, or `mediapipe` for one task with the metadata that
            MediaPipe's ImageClassifier reads.
        rank: directions a layer of `low_rank`.
        identify: whether there is a signature that finds the task, too.
    """

    routing: str = "auto"
    max_accuracy_drop: float = 0.2
    quantization: str = "none"
    target: str = "litert"
    rank: int = 1
    identify: bool = False
