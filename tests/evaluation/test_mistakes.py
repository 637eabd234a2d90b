"""The most confident mistakes, against a loop over all test images."""

import numpy as np

from cckeras.benchmarks import benchmark
from cckeras.evaluation.mistakes import MOST, confident_mistakes
from cckeras.runs.run import Run

pytest_plugins = ("tests.small_run",)


def test_they_are_the_surest_wrong_ones(digits_run):
    run = Run.open(digits_run.path)
    method, tasks = run.load(), benchmark("digits5")(run.config)
    found = confident_mistakes(method, tasks)
    for name in method.tasks:
        data = tasks.load(name)
        images = data.test.images.read(np.arange(len(data.test)))
        logits = np.asarray(method.task_model(name)(images.astype(np.float32)))
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        expected = sorted(
            (
                (-shares[place].max(), f"number {place}", data.classes[label])
                for place, label in enumerate(data.test.labels)
                if shares[place].argmax() != label
            ),
        )[:MOST]
        mistakes = found.get(name, [])
        assert len(mistakes) == len(expected)
        for one, (share, _, _) in zip(mistakes, expected, strict=True):
            assert abs(one.probability + share) < 1e-4
            assert one.said != one.truth
            assert one.name.startswith("number ")
            assert one.picture.shape == images.shape[1:]
