"""The form in which a task is exported, and how it is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.export.answers import accuracy, keras_answers
from cckeras.export.folding import constant_layers, fold
from cckeras.export.network import Network, read_network
from cckeras.export.static import Input, StaticLayers
from cckeras.methods.base import Method

EXACT, FOLDED, CONSTANT = "exact", "folded", "constant"


@dataclass(frozen=True)
class Form:
    """The form in which a task is exported.

    Args:
        name: `exact` (routing per image), `folded` (its mean), or `constant`
            (no image decides: exact, too).
        network: the task's arrays.
        layers: those of the static network; None if exact.
        validation: accuracy by form in percent, of the forms measured.
    """

    name: str
    network: Network
    layers: StaticLayers | None
    validation: dict[str, float | None]


def choose_forms(
    source: Input,
    method: Method,
    data: dict[str, TaskData],
    routing: str,
    drop: float,
    progress,
) -> dict[str, Form]:
    """Return the form of every task.

    Args:
        source: the networks' input.
        method: the run's networks.
        data: `{task: its images}`, in order.
        routing: `auto`, `exact` or `folded`.
        drop: points of validation accuracy that folding may cost with `auto`.
        progress: called with what is being done.

    Raises:
        InputError: if a form needs training images that there are not.
    """
    forms = {}
    for name, images in data.items():
        progress(f"{name}: choosing a form")
        forms[name] = _form(source, method, name, images, routing, drop)
    if routing == EXACT and any(f.name == EXACT for f in forms.values()):
        # All in one table, with their experts in the bank once.
        return {
            name: Form(EXACT, form.network, None, {})
            for name, form in forms.items()
        }
    return forms


def _form(source, method, name, data, routing, drop):
    network = read_network(method, name)
    if network.constant:
        return Form(CONSTANT, network, constant_layers(network), {})
    if routing == EXACT:
        return Form(EXACT, network, None, {})
    if not len(data.train):
        raise InputError(
            f"Expected training images of task {name!r}, to fold its routing. "
            "Received: none. Give --data_dir, or --routing=exact."
        )
    folded = fold(
        source, network, method.routing(name), data.train, data.validation
    )
    answers = keras_answers(method.task_model(name))
    exact = accuracy(answers, data.validation)
    measured = {EXACT: exact, FOLDED: folded.validation_accuracy}
    if routing == FOLDED or (
        exact is not None and folded.validation_accuracy >= exact - drop
    ):
        return Form(FOLDED, network, folded.layers, measured)
    return Form(EXACT, network, None, measured)
