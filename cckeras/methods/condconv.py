"""`condconv`: a new expert and a new router per task (methods.md 3)."""

import keras
import numpy as np

from cckeras.backbones.factory import BankFactory
from cckeras.layers.task_conv import TaskConv2D
from cckeras.methods.base import Group, Method

ROUTERS = "_router_(kernel|bias|logits)$"


class CondConv(Method):
    """Every convolution holds a kernel bank; a task adds one expert to each.

    Earlier experts are frozen and reused through the new task's own routers.
    The first task is the `scratch` network of that task.
    """

    name = "condconv"

    def __init__(self, config):
        super().__init__(config)
        self.banks = {}

    def _network(self, task, structure):
        config = self.config
        layers = BankFactory(
            [config["seed"], task.name],
            self.banks,
            task.name,
            structure["experts"] if structure else config["experts"],
            {
                key: config[key]
                for key in (
                    "routing",
                    "expert_start",
                    "router_start",
                    "own_expert",
                    "implementation",
                )
            },
        )
        model = self._build(task, layers)
        self._register(task, layers.variables)
        if config["expert_start"] == "mean" and not structure:
            self._start_norms_at_mean(task)
        return model

    def phases(self, task):
        model = self.task_model(task.name)
        config = self.config
        if len(self.uses(task)) == 1:
            yield self._phase("train", model, config["scratch_learning_rate"])
            return
        routers = Group(ROUTERS, "adam", config["router_learning_rate"])
        yield self._phase("train", model, config["learning_rate"], (routers,))

    def structure(self, task):
        return {"experts": list(self.uses(task)[:-1])}

    def uses(self, task):
        return next(iter(self.banks.values())).experts(task.name)

    def routing(self, name):
        model = self.task_model(name)
        models = {}
        for layer in model.layers:
            if isinstance(layer, TaskConv2D) and _has_router(layer):
                routing = RoutingWeights(layer, name=f"{layer.name}_routing")
                models[layer.name] = keras.Model(
                    model.input, routing(layer.input)
                )
        return models

    def _start_norms_at_mean(self, task):
        earlier = self.uses(task)[:-1]
        for name in self.ledger.owned(task.number):
            prefix, rest = name.split("/", 1)
            peers = [f"{other}/{rest}" for other in earlier]
            if peers and rest.rsplit("/", 1)[1] in (
                "gamma",
                "beta",
                "moving_mean",
                "moving_variance",
            ):
                values = [
                    keras.ops.convert_to_numpy(self.variables[peer])
                    for peer in peers
                ]
                self.variables[f"{prefix}/{rest}"].assign(np.mean(values, 0))


def _has_router(layer):
    weights = layer.weights_in_use
    routers = weights.router_kernel, weights.router_logits
    return any(router is not None for router in routers)


class RoutingWeights(keras.layers.Layer):
    """The routing weights `[B, n]` that a task's convolution gives its input."""

    def __init__(self, convolution, name):
        super().__init__(name=name)
        self.convolution = convolution

    def call(self, x):
        routing = self.convolution.routing_weights(x)
        if len(routing.shape) == 1:
            rows = keras.ops.ones_like(x[:, :1, 0, 0])
            routing = rows * routing[None]
        return routing
