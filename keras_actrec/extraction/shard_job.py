"""What an extraction is to those who run it: a job that writes shards, wherever its workers are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keras_actrec.datasets.record import LeftOut

Tick = Callable[[int], None]
"""Called with the number of clips that were finished since the last call."""


@dataclass(frozen=True)
class ShardResult:
    """What writing one shard gave: clips written, clips left out, crops (through a network, or written), remarks."""

    shard: int
    done: int
    left_out: tuple[LeftOut, ...] = ()
    crops: int = 0
    notes: tuple[str, ...] = ()


class ShardJob(Protocol):
    """Something that writes shards. It is pickled to the workers, so it holds descriptions, not open files or networks.

    Attributes:
        directory: where the shards are written.
    """

    @property
    def directory(self) -> Path: ...

    def reads(self) -> Iterable[Path]:
        """A file or folder of each kind that the job reads and that is there: a worker on another machine has to see them, or
        it would leave out every clip that it gets."""

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        """Prepares the process that will work (builds the network, …) and returns the function that writes one shard.

        `threads`: how many the process may use; None leaves the process as it is.
        """


def one_there(paths: Iterable[Path | None]) -> tuple[Path, ...]:
    """The first of some paths that is there, if any: what `ShardJob.reads` gives for files of a kind."""
    found = next((path for path in paths if path is not None and path.exists()), None)
    return () if found is None else (found,)
