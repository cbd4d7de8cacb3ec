"""Trains the pose stream on one data set and goes on with another, against training on the other one alone.

    python experiments/transfer.py --source ntu_rgbd --source-root /data/ntu --target sbu --target-root /data/sbu

The target's skeletons are retargeted to the source's layout, and all layers are fine-tuned with a tenth of the learning rate
(section 5 of the STA-Hands paper). Results: WORKDIR/transfer.md and transfer.csv. With --resume the same command goes on where
it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP, exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    for part in ("source", "target"):
        add(f"--{part}", required=True, help=f"name of the {part} data set, as in keras_actrec.datasets; own for your own")
        add(f"--{part}-root", type=Path, required=True, help="its folder (your own: the CSV file)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the runs (default: 0 1 2)")
    add("--preset", choices=("paper", "tuned"), default="tuned", help="settings of all runs (default: %(default)s)")
    add("--workdir", type=Path, help="results (default: runs/transfer_SOURCE_TARGET_PRESET)")
    add("--cache-dir", type=Path, help="pose caches (default: WORKDIR/cache)")
    add("--protocol", help="one protocol or fold of the target (default: the usual one; all folds, averaged)")
    add("--epochs", type=int, help="most epochs of each training")
    add("--learning-rate", type=float, help="of Adam; a tenth of it in the fine-tuning")
    add("--batch-size", type=int, help="clips per step")
    add("--strategy", choices=STRATEGIES, default="none", help=f"{STRATEGY_HELP} (default: %(default)s)")
    add("--resume", action="store_true", help="go on with runs that were stopped; finished ones are not run again")
    add("--summary", type=Path, metavar="CSV", help="table of all results that the rows are added to, e.g. results/summary.csv")
    args = parser.parse_args()
    args.workdir = args.workdir or Path(f"runs/transfer_{args.source}_{args.target}_{args.preset}")
    return args


def run(args: argparse.Namespace) -> None:
    from keras_actrec.datasets.catalogue import open_dataset
    from keras_actrec.recipes.sta_hands.pose import task_of
    from keras_actrec.recipes.sta_hands.transfer import run_transfer, transfer_experiments
    from keras_actrec.recipes.tables import repeat_command, report_table

    folders = {"SOURCE_ROOT": args.source_root, "TARGET_ROOT": args.target_root}
    folders |= {"WORKDIR": args.workdir, "CACHE_DIR": args.cache_dir, "SUMMARY": args.summary}
    command = repeat_command("experiments/transfer.py", folders)
    source = open_dataset(args.source, args.source_root, video=False)
    target = open_dataset(args.target, args.target_root, video=False)
    source_task, target_task = task_of(args.source, source), task_of(args.target, target)
    experiments = transfer_experiments(
        source, target, source_task, target_task, args.preset, args.workdir, cache_dir=args.cache_dir,
        epochs=args.epochs, learning_rate=args.learning_rate, batch_size=args.batch_size, strategy=args.strategy,
        resume=args.resume,
    )  # fmt: skip
    protocols = (args.protocol,) if args.protocol else target_task.protocols
    rows, text = run_transfer(source, target, experiments, protocols, args.seeds, args.workdir, command=command)
    report_table(args.workdir / "transfer", rows, text, summary=args.summary, strategy=args.strategy)


def main() -> int:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
