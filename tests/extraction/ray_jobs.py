"""Jobs and a data set for workers on a cluster, which die or fail; in a file of their own, which workers import fast."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from keras_actrec.cache.writer import part_name
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import DiskFullError, WeightsError
from tests.extraction.small import WriteNumbers


@dataclass(frozen=True)
class DiesOnce(WriteNumbers):
    """The first process that gets shard `odd` leaves an unfinished shard behind, ticks, and is killed."""

    def _write(self, shard, tick):
        directory = Path(self.directory)
        if shard == self.odd and not (directory.parent / "died").exists():
            (directory.parent / "died").write_text(str(os.getpid()))
            (directory / part_name("poses-00001.h5")).write_text("half")
            tick(1)
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._write(shard, tick)


@dataclass(frozen=True)
class Raises(WriteNumbers):
    """Raises an error of the package: in shard 0, or as it is opened."""

    def open(self, threads):
        if self.how == "open":
            raise WeightsError("no weights", file="w.h5", fix="get some")
        return self._write

    def _write(self, shard, tick):
        raise DiskFullError("no space left", file="x.h5", found="0 bytes", fix="free some")


@dataclass(frozen=True)
class Sleeps(WriteNumbers):
    """Leaves an unfinished shard behind, named after the process, and writes on for a minute."""

    def _write(self, shard, tick):
        Path(self.directory, part_name(f"poses-{shard:05d}.h5")).write_text("half")
        time.sleep(60)


@dataclass(frozen=True)
class NeverUp(WriteNumbers):
    def open(self, threads):
        os.kill(os.getpid(), signal.SIGKILL)


class KillsOnce(NTURGBD):
    """A data set whose second skeleton kills the first process that reads it, but for the one that made the data set."""

    def __init__(self, root):
        super().__init__(root)
        self.killed, self.mine = Path(root).parent / "killed", os.getpid()

    def load_skeleton(self, record):
        if record == self.records[1] and os.getpid() != self.mine and not self.killed.exists():
            (part,) = (self.killed.parent / "ray").glob(f"poses*.{os.getpid()}.part")
            self.killed.write_text(part.name)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load_skeleton(record)


class NeedsAll:
    """Other work on the cluster."""

    def works(self):
        return True
