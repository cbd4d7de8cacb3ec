"""Adds runs that differ in their seed only to the table of results.

    python experiments/summarise.py runs/seed0/metrics.json runs/seed1/metrics.json runs/seed2/metrics.json \\
        --command "python experiments/ntu_pose_rgb.py --seed SEED"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.scripts import exit_status
from keras_actrec.training.summary import add_to_summary, summarise


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path, nargs="+", help="metrics.json of each run")
    parser.add_argument("--command", required=True, help="how to repeat the runs; SEED stands for the seed")
    parser.add_argument("--metric", choices=("accuracy", "mean_class_accuracy", "macro_f1"), default="accuracy")
    parser.add_argument("--out", type=Path, default=Path("results/summary.csv"), help="default: %(default)s")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    rows = summarise(args.metrics, command=args.command, metric=args.metric)
    add_to_summary(args.out, rows)
    print(rows.to_string(index=False))


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
