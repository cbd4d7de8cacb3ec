"""`keras-actrec datasets …`: what public data sets there are, whether a copy is complete, its clips as a CSV."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HELP = """\
Public data sets that this program reads as their authors publish them. It holds none of them: each has terms of its own.

examples:
  keras-actrec datasets list
  keras-actrec datasets check jhmdb /data/jhmdb
  keras-actrec datasets csv jhmdb /data/jhmdb jhmdb.csv --protocol split1
"""

_PLACE = "keras_actrec.cli.dataset"

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "list": (f"{_PLACE}.listing", "the data sets: names, clips, classes, protocols, where to get them"),
    "check": (f"{_PLACE}.check", "count the clips of a copy and name what differs from the published numbers"),
    "csv": (f"{_PLACE}.clip_csv", "write the clips of a copy as a CSV, as `keras-actrec train` and `evaluate` read it"),
})  # fmt: skip
"""Name → (module, one line), in the order of the help."""
