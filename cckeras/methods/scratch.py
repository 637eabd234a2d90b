"""`scratch`: one plain network a task, nothing shared (methods.md 4)."""

from cckeras.methods.base import Method


class Scratch(Method):
    """Every task is learned alone, from random initial values."""

    name = "scratch"

    def _network(self, task, structure):
        del structure
        return self._plain_network(task)

    def phases(self, task):
        yield self._phase(
            "train",
            self.task_model(task.name),
            self.config["scratch_learning_rate"],
        )
