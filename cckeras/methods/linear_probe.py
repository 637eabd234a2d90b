"""`linear_probe`: a frozen network and a head for each task."""

import keras

from cckeras.backbones.factory import LayerFactory
from cckeras.methods.base import Method


class LinearProbe(Method):
    """The first task's network stays as it is; later tasks train a head on it.

    It is what TensorFlow Lite's and MediaPipe's model makers do by default.
    """

    name = "linear_probe"

    def _network(self, task, structure):
        del structure
        if task.number == 1:
            return self._plain_network(task)
        first = self.task_model(self._first)
        trunk = keras.Model(first.input, first.get_layer("head").input)
        # Norms of a frozen layer use their moving statistics in training, too.
        trunk.trainable = False
        layers = LayerFactory(
            [self.config["seed"], task.name], **self._computing
        )
        logits = layers.head(trunk.output, len(task.classes))
        self._register(task, layers.variables)
        return keras.Model(first.input, logits)

    def phases(self, task):
        first = task.number == 1
        rate = "scratch_learning_rate" if first else "learning_rate"
        yield self._phase(
            "train", self.task_model(task.name), self.config[rate]
        )

    def uses(self, task):
        if task.number == 1:
            return (task.name,)
        return (self._first, task.name)

    @property
    def _first(self):
        return next(iter(self.tasks))
