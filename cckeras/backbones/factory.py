"""Layer factories: what a backbone asks for its layers with weights."""

from __future__ import annotations

import contextlib

import keras

from cckeras.layers.batch_norm import BatchNorm
from cckeras.layers.cond_conv import CondConv2D
from cckeras.layers.initializers import FanInUniform

NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


class LayerFactory:
    """Plain Keras layers, all of them one task's own.

    After a network was built, `variables` holds every variable that the
    factory made, `{"layer/variable": keras.Variable}`.

    Args:
        seed: list of integers and strings; with a layer's name it decides the
            layer's initial values.
        synchronized_norms: whether norms take a batch's statistics over all
            devices of a TensorFlow strategy. JAX's do so in any case, and
            Keras refuses to be asked for it there.
        recompute: whether convolutions are computed once more for their
            gradients instead of kept, which takes time and spares memory.
    """

    def __init__(self, seed, synchronized_norms=False, recompute=False):
        self.seed = list(seed)
        self.synchronized_norms = synchronized_norms
        self.recompute = recompute
        self.variables: dict[str, keras.Variable] = {}

    def initializer(self, name: str, fan_in: int | None = None):
        """Return the initial values of the variable `"layer/variable"`."""
        return FanInUniform([*self.seed, name], fan_in)

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        """Return a convolution without a bias of `x`.

        Args:
            x: `[B, H, W, Cin]`.
            filters: number of output channels.
            kernel_size, strides: integers, for both axes.
            padding: `"same"`, or `"symmetric"` as in `CondConv2D`.
            name: of the layer.

        Returns:
            `[B, ceil(H / strides), ceil(W / strides), filters]`.
        """
        return self.own_conv(
            x,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            name=name,
        )

    def own_conv(
        self, x, filters, kernel_size, *, strides=1, padding="same", name
    ):
        """Return the same, with a kernel that every task owns for itself."""
        if padding == "symmetric" and strides > 1 and kernel_size > 1:
            pad = keras.layers.ZeroPadding2D(
                kernel_size // 2, name=f"{name}_pad"
            )
            x, padding = pad(x), "valid"
        with self._recomputed():
            layer = keras.layers.Conv2D(
                filters,
                kernel_size,
                strides=strides,
                padding="valid" if padding == "valid" else "same",
                use_bias=False,
                kernel_initializer=self.initializer(f"{name}/kernel"),
                name=name,
            )
            return self._apply(layer, x)

    def depthwise(self, x, kernel_size, *, strides=1, name):
        """Return a "same" convolution of each channel alone, without a bias.

        Every task owns its kernel for itself.
        """
        layer = keras.layers.DepthwiseConv2D(
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=self.initializer(
                f"{name}/kernel", kernel_size * kernel_size
            ),
            name=name,
        )
        return self._apply(layer, x)

    def norm(self, x, *, name, epsilon=NORM_EPSILON):
        """Return batch-normalised `x`; the moving variance is the biased one."""
        layer = BatchNorm(
            momentum=NORM_MOMENTUM,
            epsilon=epsilon,
            synchronized=self.synchronized_norms
            and keras.backend.backend() == "tensorflow",
            name=name,
        )
        return self._apply(layer, x)

    def head(self, features, classes: int):
        """Return the logits `[B, classes]`."""
        layer = keras.layers.Dense(
            classes,
            kernel_initializer=self.initializer("head/kernel"),
            bias_initializer=self.initializer("head/bias", features.shape[-1]),
            dtype="float32",
            name="head",
        )
        return self._apply(layer, features)

    def _recomputed(self):
        if self.recompute:
            return keras.RematScope("full")
        return contextlib.nullcontext()

    def _apply(self, layer, x):
        y = layer(x)
        for variable in layer.variables:
            self.variables[f"{layer.name}/{variable.name}"] = variable
        return y


class BankFactory(LayerFactory):
    """Convolutions (`conv`) are one task's views of shared kernel banks.

    Args:
        seed: as in `LayerFactory`.
        banks: `{layer: CondConv2D}`, filled on the first use.
        task: name of the task; the banks grow by it.
        experts: as in `CondConv2D.grow`.
        options: further arguments of `CondConv2D`.
        **computing: further arguments of `LayerFactory`.
    """

    def __init__(self, seed, banks, task, experts, options, **computing):
        super().__init__(seed, **computing)
        self.banks = banks
        self.task = task
        self.experts = experts
        self.options = options

    def conv(self, x, filters, kernel_size, *, strides=1, padding="same", name):
        if name not in self.banks:
            bank = CondConv2D(
                filters,
                kernel_size,
                strides=strides,
                padding=padding,
                use_bias=False,
                name=name,
                **self.options,
            )
            bank.build(x.shape)
            self.banks[name] = bank
        bank = self.banks[name]
        bank.grow(
            self.task,
            self.experts,
            kernel_initializer=self.initializer(f"{name}/kernel"),
            router_initializer=lambda part, fan_in: self.initializer(
                f"{name}/router_{part}", fan_in
            ),
        )
        for role, variable in bank.owned(self.task).items():
            self.variables[f"{name}/{role}"] = variable
        with self._recomputed():
            return bank.for_task(self.task, name=name)(x)
