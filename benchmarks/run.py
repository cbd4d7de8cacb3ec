"""Measures speed and memory, and says where a figure misses what it must reach.

    python benchmarks/run.py                              # everything; tens of minutes
    python benchmarks/run.py --quick                      # everything, roughly; minutes
    python benchmarks/run.py skeleton_parsing decode      # some of it
    KERAS_BACKEND=jax python benchmarks/run.py models     # through JAX; also where TensorFlow is not installed

One JSON line per figure on standard output, {"name", "value", "unit", "must", "least", "most"}; the machine, what was left out
and a table on standard error. Exit status: 0; 1 where a figure misses what it must reach (with --quick too); 2 where a
benchmark failed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from suite.catalogue import BENCHMARKS
from suite.figures import Settings
from suite.runner import measure_here, run_benchmarks


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--here", metavar="NAME", choices=BENCHMARKS, help=argparse.SUPPRESS)  # what run.py starts itself with
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)} (choose from {', '.join(BENCHMARKS)})")
    return args


def main() -> int:
    args = arguments()
    if args.list:
        for benchmark in BENCHMARKS.values():
            print(f"{benchmark.name:18} {benchmark.about}")
        return 0
    if args.here:
        measure_here(args.here, Settings(args.quick, args.folder))
        return 0
    return run_benchmarks(args.names, quick=args.quick)


if __name__ == "__main__":
    sys.exit(main())
