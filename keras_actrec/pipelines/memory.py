"""Arrays kept in memory up to a number of bytes."""

from __future__ import annotations

import threading

import numpy as np


class KeptArrays:
    """Arrays by name, those that come first, as many as fit into a number of bytes. Threads may share it.

    Epochs ask for every clip once, each in an order of its own. If the arrays used longest ago made way for new ones, a memory
    of half of all arrays would hold 15 % of those asked for: those of the first half are gone before their turn comes again.
    Those that stay are found each time: 50 %.
    """

    def __init__(self, budget: int):
        self._free = budget
        self._arrays: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> np.ndarray | None:
        return self._arrays.get(name)

    def put(self, name: str, array: np.ndarray) -> None:
        """Keeps an array if there is room; later ones may be smaller and still fit."""
        with self._lock:
            if name not in self._arrays and array.nbytes <= self._free:
                self._arrays[name] = array
                self._free -= array.nbytes
