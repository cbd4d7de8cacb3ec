"""Arrays kept in memory up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np


class RecentlyUsed:
    """Arrays by name up to a number of bytes; those used longest ago go first. Threads may share it."""

    def __init__(self, budget: int):
        self._budget, self._bytes = budget, 0
        self._arrays: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> np.ndarray | None:
        with self._lock:
            if name in self._arrays:
                self._arrays.move_to_end(name)
            return self._arrays.get(name)

    def put(self, name: str, array: np.ndarray) -> None:
        with self._lock:
            if name in self._arrays:
                return
            self._arrays[name] = array
            self._bytes += array.nbytes
            while self._bytes > self._budget:
                _, dropped = self._arrays.popitem(last=False)
                self._bytes -= dropped.nbytes
