"""Run an exported file with LiteRT, as an app does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from cckeras.commands import silenced
from cckeras.errors import InputError, choose
from cckeras.export import metadata


class ExportedTasks:
    """An exported file, opened.

    Args:
        path: of the `.tflite` file.
        threads: of LiteRT.
        xnnpack: whether XNNPACK computes.

    Raises:
        InputError: if the file is missing, damaged or not ours.
    """

    def __init__(self, path: Path, threads: int = 1, xnnpack: bool = True):
        self.xnnpack = xnnpack
        self.metadata = metadata.read(Path(path))
        self.tasks = {task["name"]: task for task in self.metadata["tasks"]}
        try:
            with silenced():
                self.interpreter = Interpreter(
                    str(path),
                    num_threads=threads,
                    experimental_op_resolver_type=OpResolverType.BUILTIN
                    if xnnpack
                    else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                )
                self.interpreter.allocate_tensors()
            self._runners = {
                name: self.interpreter.get_signature_runner(name)
                for name in self.interpreter.get_signature_list()
            }
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"Expected a model that LiteRT opens. Received: {path}: "
                f"{error}. Export it again."
            ) from error

    def probabilities(self, task: str, image) -> np.ndarray:
        """Return the probabilities `[classes]` of one image.

        Args:
            task: name of a task of the file.
            image: `[H, W, 3]` in 0..255.

        Raises:
            InputError: if the file has no such task.
        """
        entry = self.tasks[choose("task", task, self.tasks)]
        inputs = {"image": np.asarray(image, np.float32)[None]}
        if entry["index"] is not None:
            inputs["task"] = np.array([entry["index"]], np.int32)
        outputs = self._runners[entry["signature"]](**inputs)
        return outputs["probabilities"][0, : len(entry["classes"])]

    def identify(self, image) -> tuple[str, str, float]:
        """Return task, class and probability of one image.

        Args:
            image: `[H, W, 3]` in 0..255.

        Raises:
            InputError: if the file was exported without `--identify`.
        """
        entry = self.metadata.get("identify")
        if entry is None:
            raise InputError(
                "Expected a file that finds the task. Received: one with a "
                "signature for each. Export it with --identify."
            )
        outputs = self._runners[entry["signature"]](
            image=np.asarray(image, np.float32)[None]
        )
        task = self.metadata["tasks"][int(outputs["task"][0])]
        label = task["classes"][int(outputs["class"][0])]
        return task["name"], label, float(outputs["probability"][0])

    def compute_again(self, signature: str) -> None:
        """Compute a signature on its last inputs, copying nothing: what
        LiteRT's own benchmark times."""
        runner = self._runners[signature]
        runner._interpreter_wrapper.Invoke(runner._subgraph_index)
