"""Runs every row of Table 4, 5 or 6 of the STA-Hands paper on one data set and writes the table beside the paper's numbers.

    python experiments/ablations.py --table 4 --dataset sbu --data-root /data/sbu        # joint orders, pose only
    python experiments/ablations.py --table 6 --dataset ntu_rgbd --data-root /data/ntu   # attention, needs videos
    python experiments/ablations.py --table 5                                            # on the synthetic data set

Results: WORKDIR/tableN.md and tableN.csv, and the files of every run in WORKDIR/ROW/seedN. With --resume the same command goes
on where it was stopped. On data without videos only row A of Table 6 runs, and no row of Table 5.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP, exit_status, given

if TYPE_CHECKING:
    from keras_actrec.recipes.sta_hands.experiment import Experiment
    from keras_actrec.recipes.sta_hands.pose import PoseTask


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--table", type=int, choices=(4, 5, 6), required=True, help="table of the paper")
    add("--dataset", default="synthetic_ntu", help="name of the data set, as in keras_actrec.datasets (default: %(default)s)")
    add("--data-root", type=Path, help="its folder; your own: the CSV file (default: a synthetic data set is made)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the runs (default: 0 1 2)")
    add("--workdir", type=Path, help="results (default: runs/ablations_DATASET_PRESET)")
    add("--cache-dir", type=Path, help="pose and feature caches (default: WORKDIR/cache)")
    add("--protocol", help="one protocol or fold (default: the usual one; all folds, averaged)")
    add("--preset", choices=("paper", "tuned"), default="paper", help="settings of Table 4 (default: %(default)s)")
    add("--resume", action="store_true", help="go on with runs that were stopped; finished ones are not run again")
    add("--summary", type=Path, metavar="CSV", help="table of all results that the rows are added to, e.g. results/summary.csv")

    sensor = parser.add_argument_group("hand features (Tables 5 and 6)").add_argument
    sensor("--sensor", choices=("inception_v3", "resnet50"), help="image network (default: inception_v3)")
    sensor("--sensor-weights", help="imagenet, random, or a weights file (default: imagenet)")
    sensor("--image-size", type=int, help="side of the resized crops (default: 299; 91 for the synthetic data)")
    sensor("--crop-size", type=int, help="side in pixels of the square around each hand (default: 50)")
    sensor("--workers", type=int, help="processes of the extraction (default: 1)")

    train = parser.add_argument_group("training (defaults: those of the preset; the same in all rows)").add_argument
    train("--epochs", type=int, nargs="+", metavar="N", help="most epochs: of both stages, or of POSE and RGB")
    train("--learning-rate", type=float, nargs="+", metavar="RATE", help="of Adam: in both stages, or in POSE and RGB")
    train("--batch-size", type=int, help="clips per step over all devices")
    train("--holdout", type=float, help="share of the training clips held out for early stopping")
    train("--strategy", choices=STRATEGIES, help=STRATEGY_HELP)
    args = parser.parse_args()
    if args.table != 4 and args.preset != "paper":
        parser.error("--preset is for Table 4: Tables 5 and 6 have the settings of the paper")
    for option in ("epochs", "learning_rate"):
        if len(getattr(args, option) or ()) > 2:
            parser.error(f"--{option.replace('_', '-')} takes one number, or one for each of the two stages")
    args.workdir = args.workdir or Path(f"runs/ablations_{args.dataset}_{args.preset}")
    return args


def experiment_from(args: argparse.Namespace, task: PoseTask) -> Experiment:
    """Arguments over the settings that all rows share."""
    from keras_actrec.recipes.sta_hands.ablations import table_experiment

    base = table_experiment(args.table, task, args.preset, args.workdir, synthetic=args.data_root is None)

    stages = {}
    for index, name in ((0, "pose_stage"), (-1, "rgb_stage")):
        stage = getattr(base, name)
        stages[name] = given(
            stage.with_epochs(args.epochs[index]) if args.epochs else stage,
            learning_rate=args.learning_rate and args.learning_rate[index],
            batch_size=args.batch_size,
        )
    return given(
        base,
        cache_dir=args.cache_dir,
        sensor=given(base.sensor, name=args.sensor, weights=args.sensor_weights, image_size=args.image_size),
        crop_size=args.crop_size,
        workers=args.workers,
        holdout=args.holdout,
        strategy=args.strategy,
        resume=args.resume,
        **stages,
    )


def run(args: argparse.Namespace) -> None:
    from keras_actrec.recipes.sta_hands.ablations import open_for_table, run_ablations
    from keras_actrec.recipes.sta_hands.pose import task_of
    from keras_actrec.recipes.tables import repeat_command, report_table

    folders = {"DATA_ROOT": args.data_root, "WORKDIR": args.workdir, "CACHE_DIR": args.cache_dir, "SUMMARY": args.summary}
    command = repeat_command("experiments/ablations.py", folders)
    caches, strategy = args.cache_dir or args.workdir / "cache", args.strategy or "none"
    dataset = open_for_table(args.table, args.dataset, args.data_root, caches, strategy=strategy)
    task = task_of(args.dataset, dataset)
    protocols = (args.protocol,) if args.protocol else task.protocols
    base = experiment_from(args, task)
    rows, text = run_ablations(args.table, dataset, base, protocols, args.seeds, command=command)
    report_table(args.workdir / f"table{args.table}", rows, text, summary=args.summary, strategy=base.strategy)


def main() -> int:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
