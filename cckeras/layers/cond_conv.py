"""`CondConv2D`: a convolution with a kernel bank that grows task by task."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from cckeras.layers.initializers import FanInUniform
from cckeras.layers.per_image_convolution import IMPLEMENTATIONS
from cckeras.layers.routing import Geometry, TaskWeights, routed_convolution
from cckeras.layers.task_conv import TaskConv2D

ROUTINGS = ("image", "task")
EXPERT_STARTS = ("zeros", "copy", "mean", "random")
ROUTER_STARTS = ("published", "zeros")
OWN_EXPERTS = ("routed", "added")


@keras.saving.register_keras_serializable(package="cckeras")
class CondConv2D(keras.layers.Layer):
    """2D convolution with one expert and one router per task.

    For an input x of task t the kernel is `sum_i r_i W_i` over the task's
    experts W, with `r = sigmoid(A_t pool(x) + b_t)` (Tu, Wu and Chen 2020;
    Yang et al. 2019; methods.md 3.1). `grow()` adds a task: a new expert, a
    new router, and everything older is frozen. The first task has one expert
    and routing fixed at one, which makes it a plain convolution.

    Args:
        filters: number of output channels.
        kernel_size: integer or pair.
        strides, data_format, dilation_rate, groups, use_bias: as in
            `keras.layers.Conv2D`. The bias belongs to a task.
        padding: `"valid"` or `"same"` as in `keras.layers.Conv2D`, or
            `"symmetric"`, PyTorch's: as many zeros before as after, for odd
            kernels. It differs from `"same"` where strides skip pixels.
        kernel_initializer, bias_initializer: for the first task's kernel,
            for `expert_start="random"`, and for every task's bias.
        kernel_regularizer, bias_regularizer: for what the task in hand owns.
        routing: `"image"`, routing weights from each image (published), or
            `"task"`, one learned number per expert, no image: as cheap as a
            plain convolution.
        expert_start: a later expert's first value: `"zeros"` (published),
            `"copy"` of the latest earlier expert, `"mean"` of the earlier
            tasks' mixed kernels, `"random"`.
        router_start: `"published"` (uniform, methods.md 2) or `"zeros"`
            (routing starts at one half; pretrained networks need it).
        own_expert: `"routed"` (published), or `"added"`: the task's own
            expert has weight one and only the earlier ones are routed.
        implementation: how per-image kernels are applied, `"auto"`,
            `"grouped"` or `"patches"`.
        tasks: `{task: experts}` to grow at build; `get_config` fills it.

    Input shape:
        `(batch, height, width, channels)`, or channels first.

    Output shape:
        as of `keras.layers.Conv2D`.

    Example:
        >>> layer = CondConv2D(64, 3, padding="same")
        >>> layer.grow("digits")
        >>> layer.grow("letters")
        >>> y = layer(images, task="digits")
    """

    def __init__(
        self,
        filters: int,
        kernel_size,
        strides=(1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate=(1, 1),
        groups: int = 1,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        routing: str = "image",
        expert_start: str = "zeros",
        router_start: str = "published",
        own_expert: str = "routed",
        implementation: str = "auto",
        tasks=None,
        **kwargs,
    ):
        for name in set(kwargs) - {"name", "dtype", "trainable"}:
            raise ValueError(
                f"CondConv2D does not take the argument {name!r}. Received: "
                f"{name}={kwargs[name]!r}. Put activations and constraints in "
                "layers of their own after it."
            )
        super().__init__(**kwargs)
        # Conv2D knows how to check and complete these arguments.
        plain = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same" if padding == "symmetric" else padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
        )
        if padding == "symmetric" and not all(
            size % 2 for size in plain.kernel_size
        ):
            raise ValueError(
                "Expected an odd kernel_size with padding='symmetric'. "
                f"Received: kernel_size={kernel_size}"
            )
        self.filters = plain.filters
        self.kernel_size = plain.kernel_size
        self.strides = plain.strides
        self.padding = padding if padding == "symmetric" else plain.padding
        self.data_format = plain.data_format
        self.dilation_rate = plain.dilation_rate
        self.groups = plain.groups
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.routing = _one_of("routing", routing, ROUTINGS)
        self.expert_start = _one_of("expert_start", expert_start, EXPERT_STARTS)
        self.router_start = _one_of("router_start", router_start, ROUTER_STARTS)
        self.own_expert = _one_of("own_expert", own_expert, OWN_EXPERTS)
        self.implementation = _one_of(
            "implementation", implementation, IMPLEMENTATIONS
        )
        self._experts_of: dict[str, tuple[str, ...]] = {}
        self._planned = dict(tasks or {})
        self._planned_initializers: dict[str, tuple] = {}
        self._weights: dict[str, dict] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in the order in which they were grown."""
        return tuple(self._experts_of)

    def experts(self, task: str) -> tuple[str, ...]:
        """Return the names of a task's experts (each named by its task)."""
        return self._experts_of[self._known(task)]

    def build(self, input_shape):
        axis = 1 if self.data_format == "channels_first" else -1
        channels = input_shape[axis]
        if channels is None or channels % self.groups:
            raise ValueError(
                "Expected a known number of channels that `groups` divides. "
                f"Received: input_shape={input_shape}, groups={self.groups}"
            )
        self._channels = channels
        self.built = True
        for task, experts in self._planned.items():
            self.grow(task, experts, *self._planned_initializers.get(task, ()))

    def grow(
        self,
        task: str,
        experts: str | Sequence[str] = "all",
        kernel_initializer=None,
        router_initializer=None,
    ) -> None:
        """Add a task: its expert and router train, all older ones are frozen.

        Args:
            task: a new name.
            experts: which experts the task uses, its own last: `"all"` so
                far, `"first"` (the first task's), or names of earlier tasks.
            kernel_initializer: instead of the layer's own.
            router_initializer: a function of the part, "kernel" or "bias",
                and `fan_in`, that returns the initializer of the router with
                `router_start="published"`.

        Raises:
            ValueError: if the name is known already or an expert is not.
        """
        known = tuple(self._experts_of if self.built else self._planned)
        if task in known:
            raise ValueError(
                f"Expected a new task name. Received: task={task!r}, one of "
                f"{known}"
            )
        if not self.built:
            self._planned[task] = experts
            self._planned_initializers[task] = (
                kernel_initializer,
                router_initializer,
            )
            return
        used = self._choose_experts(task, experts)
        start = self._expert_start(used[:-1], kernel_initializer)
        self._tracker.unlock()
        self._weights[task] = self._add_task(
            task, used, start, router_initializer
        )
        self._experts_of[task] = used
        for older in self.tasks[:-1]:
            for variable in self._weights[older].values():
                if variable.trainable:  # To set it costs more than to look.
                    variable.trainable = False
        self._tracker.lock()

    def weights_of(self, task: str) -> TaskWeights:
        """Return the variables that a task uses, its experts in order."""
        own = self._weights[self._known(task)]
        used = self._experts_of[task]
        return TaskWeights(
            experts=tuple(self._weights[name]["expert"] for name in used),
            router_kernel=own.get("router_kernel"),
            router_bias=own.get("router_bias"),
            router_logits=own.get("router_logits"),
            bias=own.get("bias"),
            own_weight=self.own_expert == "added",
        )

    def owned(self, task: str) -> dict:
        """Return `{name: variable}` of what a task added to the bank."""
        return dict(self._weights[self._known(task)])

    def for_task(self, task: str, name: str | None = None) -> TaskConv2D:
        """Return a layer that holds this one task's variables and no others."""
        return TaskConv2D(self, task, name=name or f"{self.name}_{task}")

    def call(self, inputs, task: str):
        return routed_convolution(inputs, self.weights_of(task), self.geometry)

    def compute_output_spec(self, inputs, task: str):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )

    def compute_output_shape(self, input_shape):
        return keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            # Symmetric padding gives images of the same size.
            padding="valid" if self.padding == "valid" else "same",
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
        ).compute_output_shape(input_shape)

    def task_kernel(self, task: str) -> np.ndarray:
        """Return a task's mixed kernel `[kh, kw, Cin / groups, Cout]`.

        Exact for routing per task and for the first task. An image-routed
        task enters with the routing of an empty image, `sigmoid(b)`.
        """
        weights = self.weights_of(task)
        experts = [ops.convert_to_numpy(kernel) for kernel in weights.experts]
        logits = weights.router_logits
        if logits is None:
            logits = weights.router_bias
        if logits is None:
            return experts[0]
        routing = 1 / (1 + np.exp(-ops.convert_to_numpy(logits)))
        if weights.own_weight:
            routing = np.append(routing, 1.0)
        return np.tensordot(routing, np.stack(experts), 1).astype("float32")

    def get_config(self):
        config = super().get_config()
        initializers, regularizers = keras.initializers, keras.regularizers
        config.update(
            filters=self.filters,
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            use_bias=self.use_bias,
            kernel_initializer=initializers.serialize(self.kernel_initializer),
            bias_initializer=initializers.serialize(self.bias_initializer),
            kernel_regularizer=regularizers.serialize(self.kernel_regularizer),
            bias_regularizer=regularizers.serialize(self.bias_regularizer),
            routing=self.routing,
            expert_start=self.expert_start,
            router_start=self.router_start,
            own_expert=self.own_expert,
            implementation=self.implementation,
            tasks={
                task: list(experts[:-1])
                for task, experts in self._experts_of.items()
            }
            or self._planned,
        )
        return config

    @property
    def geometry(self) -> Geometry:
        """Strides, padding and the like."""
        return Geometry(
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
            self.data_format,
            self.implementation,
        )

    def _known(self, task):
        if task not in self._experts_of:
            raise ValueError(
                f"Expected a task that the layer was grown for, one of "
                f"{self.tasks}. Received: task={task!r}"
            )
        return task

    def _choose_experts(self, task, experts):
        if experts == "all":
            earlier = self.tasks
        elif experts == "first":
            earlier = self.tasks[:1]
        elif isinstance(experts, str):
            raise ValueError(
                "Expected `experts` to be 'all', 'first' or a list of task "
                f"names. Received: experts={experts!r}"
            )
        else:
            earlier = tuple(self._known(name) for name in experts)
        return (*earlier, task)

    def _expert_start(self, earlier, kernel_initializer):
        if not earlier or self.expert_start == "random":
            return kernel_initializer or self.kernel_initializer
        if self.expert_start == "zeros":
            return "zeros"
        if self.expert_start == "copy":
            value = ops.convert_to_numpy(self._weights[earlier[-1]]["expert"])
        else:
            value = np.mean([self.task_kernel(name) for name in earlier], 0)
        return lambda shape, dtype: ops.convert_to_tensor(value, dtype)

    def _add_task(self, task, used, start, router_initializer):
        own = {
            "expert": self.add_weight(
                name=f"{task}_expert",
                shape=(
                    *self.kernel_size,
                    self._channels // self.groups,
                    self.filters,
                ),
                initializer=start,
                regularizer=self.kernel_regularizer,
            )
        }
        if self.use_bias:
            own["bias"] = self.add_weight(
                name=f"{task}_bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        routed = len(used) - (self.own_expert == "added")
        if not self._experts_of or not routed:
            return own
        if self.routing == "task":
            own["router_logits"] = self.add_weight(
                name=f"{task}_router_logits",
                shape=(routed,),
                initializer="zeros",
            )
            return own
        if self.router_start == "zeros":
            kernel = bias = "zeros"
        elif router_initializer is None:
            kernel = FanInUniform([len(self.tasks), "router_kernel"])
            bias = FanInUniform(
                [len(self.tasks), "router_bias"], self._channels
            )
        else:
            kernel = router_initializer("kernel", self._channels)
            bias = router_initializer("bias", self._channels)
        own["router_kernel"] = self.add_weight(
            name=f"{task}_router_kernel",
            shape=(self._channels, routed),
            initializer=kernel,
        )
        own["router_bias"] = self.add_weight(
            name=f"{task}_router_bias", shape=(routed,), initializer=bias
        )
        return own


def _one_of(argument, value, known):
    if value not in known:
        raise ValueError(
            f"Expected `{argument}` to be one of {known}. Received: "
            f"{argument}={value!r}"
        )
    return value
