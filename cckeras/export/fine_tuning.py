"""Fine-tuning a network to the rounding of eight-bit integers, in Keras 2.

Quantization-aware training (Jacob et al. 2018) as TensorFlow's Model
Optimization Toolkit does it: kernels and activations are rounded in the forward
pass, gradients pass as if they were not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from cckeras.data.pipeline import steps_per_epoch, training_batches
from cckeras.data.sources import TaskData
from cckeras.export.answers import BATCH, accuracy
from cckeras.export.legacy import legacy_network
from cckeras.export.static import Input, StaticLayers

# The toolkit's wrapper of the layer "conv1" is "quant_conv1"; the ranges of its
# output are two of its variables.
WRAPPER = "quant_"
RANGES = ("output", "post_activation", "quantize_layer")


@dataclass(frozen=True)
class Recipe:
    """How a network is fine-tuned.

    Args:
        epochs: over the task's training images.
        learning_rate: of Adam, at the beginning; it falls to zero as a cosine.
        batch_size: images a step.
        seed: decides order and augmentation.
        augmentation: name of a transform.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    augmentation: str


class FineTuned:
    """A network that rounds as its eight-bit file will.

    Args:
        source: the network's input.
        layers: its constant kernels and norms.
        samples: images `[n, H, W, 3]` in 0..255, for the ranges of activations.
    """

    def __init__(
        self, source: Input, layers: StaticLayers, samples: np.ndarray
    ):
        std = np.asarray(source.std, np.float32)
        self._scale = 1 / (255 * std)
        self._offset = np.asarray(source.mean, np.float32) / std
        self._size = source.size
        plain = legacy_network(source, layers)
        self.model = tfmot.quantization.keras.quantize_model(plain)
        self._set_ranges(plain, self._normalised(samples))

    def answers(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities `[N, classes]` of images in 0..255."""
        logits = self.model.predict(self._normalised(images), BATCH, verbose=0)
        return tf.nn.softmax(logits).numpy()

    def classifier(self):
        """Return the function `image -> probabilities` for export."""

        @tf.function(
            input_signature=[
                tf.TensorSpec(
                    (1, self._size, self._size, 3), tf.float32, "image"
                )
            ]
        )
        def classify(image):
            logits = self.model(self._normalised(image), training=False)
            return {"probabilities": tf.nn.softmax(logits)}

        return classify

    def train(
        self,
        task: str,
        data: TaskData,
        recipe: Recipe,
        progress: Callable[[str], None],
    ) -> list[dict]:
        """Train, and keep the epoch with the best validation accuracy.

        Args:
            task: name of the task.
            data: its images.
            recipe: how.
            progress: called with what is being done.

        Returns:
            `[{"epoch", "loss", "validation_accuracy"}]`, an epoch each, from 1.
        """
        steps = steps_per_epoch(len(data.train), recipe.batch_size)
        rate = tf_keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate, recipe.epochs * steps
        )
        self.model.compile(
            tf_keras.optimizers.Adam(rate),
            tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        history, best, kept = [], -1.0, None
        for epoch in range(recipe.epochs):
            batches = training_batches(
                data.train,
                seed=recipe.seed,
                task=task,
                batch_size=recipe.batch_size,
                augmentation=recipe.augmentation,
                first_epoch=epoch,
                epochs=epoch + 1,
            )
            losses = [
                self.model.train_on_batch(self._normalised(images), labels)
                for images, labels in batches
            ]
            right = accuracy(self.answers, data.validation)
            history.append(
                {
                    "epoch": epoch + 1,
                    "loss": float(np.mean(losses)),
                    "validation_accuracy": right,
                }
            )
            progress(
                f"{task}: epoch {epoch + 1} of {recipe.epochs}, validation "
                f"{right:.1f} %"
            )
            if right > best:
                best, kept = right, self.model.get_weights()
        self.model.set_weights(kept)
        return history

    def _normalised(self, images):
        return images * self._scale - self._offset

    def _set_ranges(self, plain, images):
        """Begin with the ranges of real activations: the toolkit begins with
        -6..6 and moves by a thousandth a step, too slow for a short training."""
        names = {layer.name for layer in plain.layers}
        for wrapper in self.model.layers:
            variables = {v.name.split("/")[-1]: v for v in wrapper.variables}
            for kind in RANGES:
                if f"{kind}_min:0" not in variables:
                    continue
                name = wrapper.name.removeprefix(WRAPPER)
                values = images
                if name in names:
                    output = plain.get_layer(name).output
                    part = tf_keras.Model(plain.input, output)
                    values = part.predict(images, BATCH, verbose=0)
                variables[f"{kind}_min:0"].assign(min(0.0, values.min()))
                variables[f"{kind}_max:0"].assign(max(0.0, values.max()))
