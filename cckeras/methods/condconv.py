"""`condconv`: a new expert and a new router per task (methods.md 3)."""

import re
from dataclasses import replace

import keras
import numpy as np

from cckeras.backbones.factory import BankFactory
from cckeras.layers.task_conv import TaskConv2D
from cckeras.methods.base import Group, Method

ROUTERS = "_router_(kernel|bias|logits)$"
NORM_VARIABLES = ("/gamma", "/beta", "/moving_mean", "/moving_variance")
SETTLE_IMAGES, BATCH = 1000, 100


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
            **self._computing,
        )
        model = self._build(task, layers)
        self._register(task, layers.variables)
        if not structure:
            self._start_own_layers(task, model)
        return model

    def phases(self, task):
        model = self.task_model(task.name)
        config = self.config
        if len(self.uses(task)) == 1:
            yield self._phase("train", model, config["scratch_learning_rate"])
            return
        routers = Group(ROUTERS, "adam", config["router_learning_rate"])
        yield self._phase("train", model, config["learning_rate"], (routers,))
        if self._settles:
            yield self._settling(task)

    def planned_phases(self, number):
        return 2 if self._settles and number > 1 else 1

    @property
    def _settles(self):
        config = self.config
        return config["routing"] == "image" and config["settle_epochs"] > 0

    def _settling(self, task):
        """Return the phase in which the task's image routing is replaced by its
        mean, and what else the task owns is tuned to that."""
        config = self.config
        for name in self.ledger.owned(task.number):
            variable = self.variables[name]
            if re.search(ROUTERS, variable.path):
                variable.trainable = False
        phase = self._phase(
            "settle",
            self.task_model(task.name),
            config["settle_learning_rate"],
            start=lambda data: self._settle(task, data),
            optional=True,
            tolerance=config["settle_tolerance"],
        )
        epochs = config["settle_epochs"]
        return replace(
            phase,
            epochs=epochs,
            decay_epochs=(max(1, epochs // 2), max(1, 4 * epochs // 5)),
        )

    def _settle(self, task, data):
        """Replace the routers by constants, the means over training images."""
        models = self.routing(task.name)
        every = keras.Model(
            self.task_model(task.name).input,
            [model.output for model in models.values()],
        )
        # Not by `predict`, in which each of several processes sees a part.
        parts = [
            [keras.ops.convert_to_numpy(weights) for weights in every(images)]
            for images in data.train.batches_spread(BATCH, SETTLE_IMAGES)
        ]
        for layer, weights in zip(
            models, zip(*parts, strict=True), strict=True
        ):
            mean = np.concatenate(weights).mean(0)
            prefix = f"{task.name}/{layer}/router_"
            bias = self.variables[f"{prefix}bias"]
            mean = np.clip(mean[: bias.shape[0]], 1e-6, 1 - 1e-6)
            bias.assign(np.log(mean / (1 - mean)))
            kernel = self.variables[f"{prefix}kernel"]
            kernel.assign(np.zeros(kernel.shape))

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

    def _start_own_layers(self, task, model):
        """Set the first values of norms, and of kernels outside the banks.

        Behind another stem the shared kernels would mean nothing: so in a
        network with kernels outside the banks they, and the norms, start as
        the first expert's.
        """
        earlier = self.uses(task)[:-1]
        owned = [name.split("/", 1) for name in self.ledger.owned(task.number)]
        layers = [rest for _, rest in owned if not rest.startswith("head/")]
        outside = [rest for rest in layers if rest.endswith("/kernel")]
        norms = [rest for rest in layers if rest.endswith(NORM_VARIABLES)]
        if not earlier:
            return
        if self.config["expert_start"] == "mean":
            self._start_at_mean(task, (*outside, *norms), earlier)
        elif outside:
            self._start_at_mean(task, (*outside, *norms), earlier[:1])
            self._scale_statistics(task, model, earlier[0])

    def _start_at_mean(self, task, names, peers):
        for rest in names:
            values = [
                keras.ops.convert_to_numpy(self.variables[f"{peer}/{rest}"])
                for peer in peers
            ]
            self.variables[f"{task.name}/{rest}"].assign(np.mean(values, 0))

    def _scale_statistics(self, task, model, first):
        """Let norms expect the first expert's kernel times its routing weight.

        Routing that starts at one half would else halve what reaches each
        norm, and a short training does not get over that.
        """
        for layer in model.layers:
            if not isinstance(layer, keras.layers.BatchNormalization):
                continue
            bank = self.banks.get(layer.input._keras_history.operation.name)
            if bank is not None:
                kernel = bank.task_kernel(first)
                share = np.vdot(kernel, bank.task_kernel(task.name))
                share /= np.vdot(kernel, kernel)
                layer.moving_mean.assign(layer.moving_mean * share)
                layer.moving_variance.assign(layer.moving_variance * share**2)


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
