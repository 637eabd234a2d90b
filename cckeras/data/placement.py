"""Which part of a batch this process reads, where several train together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placement:
    """Processes, and devices over which every batch is divided evenly.

    Args:
        devices: how many there are in all processes.
        processes: how many; each holds as many of the devices.
        process: the number of this one, from 0.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0

    @property
    def divides(self) -> bool:
        """Whether a batch is divided at all."""
        return self.devices > 1

    def fill(self, indices: np.ndarray) -> np.ndarray:
        """Return indices, the first ones repeated until the devices divide
        their number."""
        size = -(-len(indices) // self.devices) * self.devices
        return np.resize(indices, size)

    def weights(self, count: int, filled: int) -> np.ndarray:
        """Return `[filled]`: zero for what was filled in, and for the others
        what makes the mean over all that over them alone."""
        weights = np.zeros(filled, np.float32)
        weights[:count] = filled / count
        return weights

    def part(self, array: np.ndarray) -> np.ndarray:
        """Return this process's part of a filled batch."""
        size = len(array) // self.processes
        return array[self.process * size : (self.process + 1) * size]


ALONE = Placement()
