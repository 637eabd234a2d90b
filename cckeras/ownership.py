"""The ledger: which task owns which element of which variable.

Freezing, storing, proving and sizing all follow from it and from nothing else
(docs/design.md). Task numbers start at 1; 0 is a free element.
"""

from __future__ import annotations

import hashlib

import numpy as np

FREE = 0


class OwnershipError(ValueError):
    """An element was claimed, or released, by a task that may not do so."""


class Ownership:
    """Maps every element of every variable to the task that owns it.

    A variable with one owner is kept as one integer; it becomes an integer
    array of the variable's shape when its elements have different owners.
    """

    def __init__(self):
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._owners: dict[str, int | np.ndarray] = {}
        # Names by owner, so that a task costs the same however many there are.
        self._names: dict[int, dict[str, None]] = {}

    def add(self, name: str, shape) -> None:
        """Enter a variable whose elements are all free.

        Raises:
            OwnershipError: if a variable of this name is known already.
        """
        if name in self._shapes:
            raise OwnershipError(
                f"Expected a new variable name. Received: {name!r}, which is "
                "in the ledger already."
            )
        self._shapes[name] = tuple(int(size) for size in shape)
        self._owners[name] = FREE
        self._names.setdefault(FREE, {})[name] = None

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def __iter__(self):
        return iter(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a variable."""
        self._require(name)
        return self._shapes[name]

    def owner(self, name: str) -> int | np.ndarray:
        """Return the owner: one integer, or an array of the variable's shape."""
        self._require(name)
        owners = self._owners[name]
        return owners if isinstance(owners, int) else owners.copy()

    def claim(self, name: str, task: int, where=None) -> None:
        """Give free elements to a task; claiming one's own again is no change.

        Args:
            name: name of the variable.
            task: number of the task, 1 or more.
            where: boolean array of the variable's shape; all elements if None.

        Raises:
            OwnershipError: if another task owns one of the elements. Nothing
                is changed then.
        """
        if not isinstance(task, int | np.integer) or task < 1:
            raise OwnershipError(
                f"Expected a task number of 1 or more. Received: task={task!r}"
            )
        owners = self._array(name)
        where = self._where(name, where)
        others = where & (owners != FREE) & (owners != task)
        if others.any():
            raise OwnershipError(
                f"Expected free elements of {name!r} for task {task}. "
                f"Received: {int(others.sum())} elements that belong to task "
                f"{int(owners[others].flat[0])}."
            )
        owners[where] = task
        self._keep(name, owners)

    def release(self, name: str, task: int, where=None) -> None:
        """Free elements that a task owns (pruning does so).

        Raises:
            OwnershipError: if the task does not own every one of them.
        """
        owners = self._array(name)
        where = self._where(name, where)
        if (owners[where] != task).any():
            raise OwnershipError(
                f"Expected elements of {name!r} that task {task} owns. "
                "Received: elements that are free or belong to another task."
            )
        owners[where] = FREE
        self._keep(name, owners)

    def mask(self, name: str, task: int) -> bool | np.ndarray:
        """Return what a task owns of a variable: True, False or a mask."""
        owners = self.owner(name)
        whole = isinstance(owners, int)
        return bool(owners == task) if whole else owners == task

    def owned(self, task: int) -> dict[str, bool | np.ndarray]:
        """Return `{variable: True or mask}` of all that a task owns."""
        return {
            name: self.mask(name, task) for name in self._names.get(task, {})
        }

    def size(self, task: int) -> int:
        """Return the number of elements that a task owns."""
        return sum(
            int(np.prod(self._shapes[name]))
            if isinstance(mask, bool)
            else int(mask.sum())
            for name, mask in self.owned(task).items()
        )

    def digest(self, task: int, values) -> str:
        """Return the SHA-256 over names, shapes and owned elements of a task.

        Args:
            task: number of the task.
            values: `{variable: array}`; only what the task owns is read.
        """
        digest = hashlib.sha256()
        for name, mask in sorted(self.owned(task).items()):
            array = np.asarray(values[name])
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            if not isinstance(mask, bool):
                digest.update(np.packbits(mask).tobytes())
                array = array[mask]
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _require(self, name):
        if name not in self._shapes:
            raise OwnershipError(
                f"Expected a variable of the ledger. Received: {name!r}"
            )

    def _array(self, name):
        self._require(name)
        owners = self._owners[name]
        return np.broadcast_to(
            np.asarray(owners, np.int32), self._shapes[name]
        ).copy()

    def _where(self, name, where):
        shape = self._shapes[name]
        if where is None:
            return np.ones(shape, bool)
        where = np.asarray(where)
        if where.dtype != bool or where.shape != shape:
            raise OwnershipError(
                f"Expected a boolean mask of shape {shape} for {name!r}. "
                f"Received: dtype={where.dtype}, shape={where.shape}"
            )
        return where

    def _keep(self, name, owners):
        for task in np.unique(self._owners[name]):
            del self._names[int(task)][name]
        values = np.unique(owners)
        for task in values:
            self._names.setdefault(int(task), {})[name] = None
        self._owners[name] = int(values[0]) if values.size == 1 else owners
