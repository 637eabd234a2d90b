"""A phase's optimizer: its groups and learning-rate steps as Keras objects."""

from __future__ import annotations

import keras

from cckeras.methods.base import Group, Phase
from cckeras.training.masked_optimizer import MaskedOptimizer, OptimizerGroup


def make_optimizer(
    phase: Phase, steps_per_epoch: int, masks, accumulate_steps: int = 1
) -> MaskedOptimizer:
    """Return the optimizer of a phase.

    Args:
        phase: its groups, and how their learning rates change.
        steps_per_epoch: batches an epoch.
        masks: as in `MaskedOptimizer`.
        accumulate_steps: batches whose gradients are averaged before values
            change.
    """
    # Keras' schedules count batches all the same.
    accumulate = accumulate_steps if accumulate_steps > 1 else None

    def schedule(learning_rate):
        if phase.schedule == "cosine":
            return keras.optimizers.schedules.CosineDecay(
                learning_rate, max(1, phase.epochs) * steps_per_epoch
            )
        if not phase.decay_epochs:
            return learning_rate
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [epoch * steps_per_epoch - 1 for epoch in phase.decay_epochs],
            [
                learning_rate * phase.decay_factor**power
                for power in range(len(phase.decay_epochs) + 1)
            ],
        )

    def optimizer(group: Group):
        if group.rule == "adam":
            return keras.optimizers.Adam(
                schedule(group.learning_rate),
                0.9,
                0.999,
                1e-8,
                gradient_accumulation_steps=accumulate,
            )
        return keras.optimizers.SGD(
            schedule(group.learning_rate),
            momentum=0.9,
            nesterov=True,
            gradient_accumulation_steps=accumulate,
        )

    return MaskedOptimizer(
        [
            OptimizerGroup(group.pattern, optimizer(group), group.l2)
            for group in phase.groups
        ],
        masks,
    )
