"""Puts the benchmarks' own folder on the path, as `python benchmarks/run.py` does."""

import sys
from pathlib import Path

BENCHMARKS_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
if str(BENCHMARKS_FOLDER) not in sys.path:
    sys.path.insert(0, str(BENCHMARKS_FOLDER))
