"""`finetune`: every task starts from an earlier task's network (methods.md 4)."""

from dataclasses import replace

from cckeras.methods.base import Method

SOURCES = ("all", "best", "previous", "first")


class Finetune(Method):
    """A network a task, copied from an earlier one and trained on.

    `sources="all"` and `"best"` start from each of the earlier *scratch*
    networks in turn and keep the one that is best on validation; they differ
    in what is reported, the mean over the sources (the published row) or the
    network kept. `sources="previous"` starts from the previous task's
    fine-tuned network, `"first"` from the first task's: one training a task.
    """

    name = "finetune"

    def _network(self, task, structure):
        del structure
        if self._has_scratch_networks:
            self._scratch = self._plain_network(task, f"{task.name}/scratch")
        model = self._plain_network(task)
        self._fresh = self.values(task)
        return model

    def phases(self, task):
        config = self.config
        model = self.task_model(task.name)
        earlier = [name for name in self.tasks if name != task.name]
        if self._has_scratch_networks:
            yield self._phase(
                "scratch", self._scratch, config["scratch_learning_rate"]
            )
            if not earlier:
                copied = self._phase(
                    "copy", model, 0.0, start=lambda _: self._copy_scratch(task)
                )
                yield replace(copied, epochs=0)
        elif not earlier:
            yield self._phase("train", model, config["scratch_learning_rate"])
        elif config["sources"] == "first":
            earlier = earlier[:1]
        else:
            earlier = earlier[-1:]
        for source in earlier:
            yield self._phase(
                f"from_{source}",
                model,
                config["learning_rate"],
                start=lambda _, source=source: self._start_from(source, task),
                alternative=True,
            )

    def planned_phases(self, number):
        if not self._has_scratch_networks:
            return 1
        return number

    @property
    def _has_scratch_networks(self):
        return self.config["sources"] in ("all", "best")

    def _copy_scratch(self, task):
        self._copy(f"{task.name}/scratch/", f"{task.name}/")

    def _start_from(self, source, task):
        """Take the source's trunk; the head starts from fresh values."""
        for name, value in self._fresh.items():
            if not name.startswith(f"{task.name}/scratch/"):
                self.variables[name].assign(value)
        part = "scratch/" if self._has_scratch_networks else ""
        self._copy(f"{source}/{part}", f"{task.name}/", skip="head/")

    def _copy(self, source, target, skip=None):
        for name, variable in self.variables.items():
            rest = name.removeprefix(source)
            if rest == name or f"{target}{rest}" not in self.variables:
                continue
            if not (skip and rest.startswith(skip)):
                self.variables[f"{target}{rest}"].assign(variable.value)
