"""Routing weights of a run's tasks over their own images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.methods.base import Method

IMAGES = 100


def routing_statistics(
    method: Method,
    benchmark: Benchmark,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Return `{task: {layer: {experts, mean, std}}}`, n numbers each.

    Over the first images of each task's test part; tasks without routing, or
    without test images, are left out.
    """
    statistics = {}
    for name, task in method.tasks.items():
        models = method.routing(name)
        if not models or name not in benchmark.tasks:
            continue
        progress(f"routing weights of {name}")
        test = benchmark.load(name).test
        if not len(test):
            continue
        few = np.arange(min(IMAGES, len(test)))
        images = test.images.read(few).astype(np.float32)
        experts = list(method.uses(task))
        layers = {}
        for layer, model in models.items():
            weights = np.asarray(model(images, training=False))
            layers[layer] = {
                "experts": experts,
                "mean": [round(float(v), 4) for v in weights.mean(0)],
                "std": [round(float(v), 4) for v in weights.std(0)],
            }
        statistics[name] = layers
    return statistics
