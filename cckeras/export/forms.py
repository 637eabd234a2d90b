"""The form in which a task is exported, and how it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cckeras.data.sources import TaskData
from cckeras.errors import InputError
from cckeras.export.answers import accuracy, keras_answers
from cckeras.export.folding import Folded, Folding, constant_layers
from cckeras.export.low_rank import every_expert
from cckeras.export.network import Network, read_network
from cckeras.export.static import Input, StaticLayers
from cckeras.methods.base import Method
from cckeras.names import EXPORT_ROUTINGS

AUTO, EXACT, FOLDED, LOW_RANK = EXPORT_ROUTINGS
CONSTANT = "constant"


@dataclass(frozen=True)
class Form:
    """The form in which a task is exported.

    Args:
        name: `exact` (routing per image), `low_rank` (per image along a few
            directions in some layers, the mean in the others), `folded` (the
            mean in all), or `constant` (no image decides: exact, too).
        network: the task's arrays.
        layers: those of the task's own network; None if it is a row of the
            table of all exact tasks.
        validation: accuracy by form in percent, of the forms measured.
    """

    name: str
    network: Network
    layers: StaticLayers | None
    validation: dict[str, float | None]

    @property
    def ranks(self) -> dict[str, int]:
        """Directions of the layers where an image decides, if low_rank."""
        return self.layers.ranks if self.name == LOW_RANK else {}


@dataclass(frozen=True)
class Choice:
    """What decides on forms.

    Args:
        routing: one of `cckeras.names.EXPORT_ROUTINGS`.
        drop: points of validation accuracy that folding may cost with `auto`,
            on average.
        rank: directions a layer of `low_rank`.
        constant: whether kernels must not depend on an image.
    """

    routing: str
    drop: float = 0.2
    rank: int = 1
    constant: bool = False


def choose_forms(
    source: Input,
    method: Method,
    data: dict[str, TaskData],
    choice: Choice,
    progress: Callable[[str], None],
) -> dict[str, Form]:
    """Return the form of every task.

    With `auto` a task may lose what the earlier ones and itself may and did
    not: the average holds, and a task that is added later changes nothing.

    Args:
        source: the networks' input.
        method: the run's networks.
        data: `{task: its images}`, in order.
        choice: what decides.
        progress: called with what is being done.

    Raises:
        InputError: if a form needs training images that there are not.
    """
    forms, allowed = {}, 0.0
    for name, images in data.items():
        progress(f"{name}: choosing a form")
        allowed += choice.drop
        form = _form(source, method, name, images, choice, allowed)
        exact = form.validation.get(EXACT)
        if choice.routing == AUTO and form.layers and exact is not None:
            allowed -= max(0.0, exact - form.validation[form.name])
        forms[name] = form
    if any(form.layers is None for form in forms.values()) and (
        choice.routing == EXACT
    ):
        # All in one table, with their experts in the bank once.
        return {
            name: Form(EXACT, form.network, None, {})
            for name, form in forms.items()
        }
    return forms


def _form(source, method, name, data, choice, allowed):
    network = read_network(method, name)
    if network.constant:
        return Form(CONSTANT, network, constant_layers(network), {})
    if choice.routing == EXACT:
        return _exact(network, {})
    folding = _folding(source, method, name, network, data)
    answers = keras_answers(method.task_model(name))
    exact = accuracy(answers, data.validation)
    measured = {EXACT: exact}
    if choice.routing == AUTO and exact is None:
        return _exact(network, measured)
    if choice.routing == LOW_RANK:
        candidates = [folding.fold(dict.fromkeys(folding.experts, choice.rank))]
    elif choice.routing == FOLDED or choice.constant:
        candidates = [folding.fold({})]
    else:
        candidates = _ladder(folding)
    for folded in candidates:
        form = LOW_RANK if folded.layers.ranks else FOLDED
        measured[form] = folded.validation_accuracy
        if (
            choice.routing != AUTO
            or folded.validation_accuracy >= exact - allowed
        ):
            return Form(form, network, folded.layers, measured)
    return _exact(network, measured)


def _exact(network, measured):
    """Return the exact form: a row of the table of all tasks, but where a task
    owns kernels outside the banks, a signature of its own: those kernels, read
    from a table, could not be constants, which XNNPACK wants."""
    return Form(
        EXACT,
        network,
        exact_layers(network) if network.own else None,
        measured,
    )


def exact_layers(network: Network) -> StaticLayers:
    """Return layers that mix a task's experts for each image."""
    return StaticLayers(
        network,
        {
            name: conv.mixed() if conv.constant else every_expert(conv)
            for name, conv in network.convolutions.items()
        },
    )


def plain_layers(
    source: Input, method: Method, name: str, form: Form, data: TaskData
) -> StaticLayers:
    """Return a task's network with constant kernels, whatever its form.

    Raises:
        InputError: if there are no training images to fold it.
    """
    if form.network.constant:
        return constant_layers(form.network)
    if form.name == FOLDED:
        return form.layers
    folding = _folding(source, method, name, form.network, data)
    return folding.fold({}).layers


def _folding(source, method, name, network, data):
    if not len(data.train):
        raise InputError(
            f"Expected training images of task {name!r}, to fold its routing. "
            "Received: none. Give --data_dir, or --routing=exact without "
            "--identify."
        )
    return Folding(
        source, network, method.routing(name), data.train, data.validation
    )


def _ladder(folding: Folding) -> Iterator[Folded]:
    """Yield the network from the cheapest form on: no layer, the one that
    helps most, twice as many, ..., all along one direction, then along more,
    while that is cheaper than every expert."""
    yield folding.fold({})
    alone = {
        name: folding.fold({name: 1})
        for name, experts in folding.experts.items()
        if experts > 2
    }
    order = sorted(alone, key=lambda name: -alone[name].validation_accuracy)
    if not order:
        return
    yield alone[order[0]]
    count = 2
    while count < 2 * len(order):
        yield folding.fold(dict.fromkeys(order[:count], 1))
        count *= 2
    rank = 2
    while rank + 1 < min(folding.experts[name] for name in order):
        yield folding.fold(dict.fromkeys(order, rank))
        rank *= 2
