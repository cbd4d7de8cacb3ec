"""The memory of a process together with the processes that it starts, watched while something runs."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")


class TreeMemory:
    """Watches this process and all that descend from it, from `with` to its end.

    Pages that several of them share, such as libraries, count once (Linux: the sum of proportional set sizes).

    Args:
        seconds: between two looks; a peak that is shorter can be missed.

    Attributes:
        peak: the most bytes seen; None where the system does not tell (no Linux).
    """

    def __init__(self, seconds: float = 0.1):
        self.peak: int | None = None
        self._seconds, self._end = seconds, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> TreeMemory:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Looks now, besides the looks that come of themselves."""
        sizes = [size for process in tree(os.getpid()) if (size := proportional_bytes(process)) is not None]
        if sizes:
            self.peak = max(self.peak or 0, sum(sizes))


def tree(root: int) -> list[int]:
    """A process and those that descend from it, by their numbers."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        try:
            # "12 (a name) S 1 …": the parent comes second after the name, which may itself hold brackets.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:  # grows while it is walked
        found += children.get(process, [])
    return found


def proportional_bytes(process: int) -> int | None:
    """Resident bytes of a process, shared pages divided by the number of those that share them; None where it has ended."""
    try:
        text = (PROC / str(process) / "smaps_rollup").read_text()
    except OSError:
        return None
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
