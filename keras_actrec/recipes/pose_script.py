"""What the pose scripts of all data sets share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.errors import ActrecError, ConfigError

if TYPE_CHECKING:
    from keras_actrec.recipes.experiment import Experiment
    from keras_actrec.recipes.pose import PoseTask


def pose_arguments(dataset: str, doc: str) -> argparse.Namespace:
    """Reads the command line of a pose script. Imports nothing heavy, so that --help answers at once."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-root", type=Path, required=True, help="folder of the data set (your own: the CSV file)")
    add("--workdir", type=Path, default=Path(f"runs/{dataset}_pose"), help="results (default: %(default)s)")
    add("--cache-dir", type=Path, help="pose cache, which runs of the same tensors can share (default: WORKDIR/cache)")
    add("--preset", choices=("paper", "tuned"), default="tuned", help="settings (default: %(default)s)")
    add("--protocol", help="one protocol or fold (default: the usual one; all folds, averaged)")
    add("--joint-order", choices=("topological", "no_repeats", "random"), help="columns of the pose tensors (Table 4)")
    add("--no-augmentation", action="store_true", help="train on the clips as they are")
    add("--seed", type=int, default=0, help="initial weights, hold-out, order and draws (default: %(default)s)")
    add("--epochs", type=int, help="most epochs of the training")
    add("--learning-rate", type=float, help="of Adam")
    add("--batch-size", type=int, help="clips per step")
    add("--holdout", type=float, help="share of the training clips held out for early stopping")
    add("--strategy", choices=("mirrored", "none"), default="none", help="tf.distribute strategy (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")
    return parser.parse_args()


def experiment_from(args: argparse.Namespace, task: PoseTask) -> Experiment:
    """Arguments over the settings of the preset."""
    from keras_actrec.recipes.pose import pose_experiment
    from keras_actrec.skeletons.augmentation import NO_AUGMENTATION

    base = pose_experiment(task, args.preset, args.workdir, seed=args.seed)

    def changed(config, **values):
        return replace(config, **{name: value for name, value in values.items() if value is not None})

    stage = changed(base.pose_stage, epochs=args.epochs, learning_rate=args.learning_rate, batch_size=args.batch_size)
    return changed(
        base,
        tensor=changed(base.tensor, order=args.joint_order),
        pose_stage=stage,
        augmentation=NO_AUGMENTATION if args.no_augmentation else None,
        holdout=args.holdout,
        strategy=args.strategy,
        cache_dir=args.cache_dir,
        resume=args.resume,
        retry_left_out=args.retry_left_out,
    )


def main(dataset: str, doc: str) -> int:
    """Runs the pose script of a data set of `keras_actrec.datasets.catalogue`; returns the exit status."""
    args = pose_arguments(dataset, doc)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from keras_actrec.datasets.catalogue import open_dataset
    from keras_actrec.recipes.pose import run_folds, task_of

    try:
        opened = open_dataset(dataset, args.data_root, video=False)
        task = task_of(dataset, opened)
        if args.protocol and args.protocol not in opened.protocols():
            found, expected = repr(args.protocol), f"one of {', '.join(opened.protocols())}"
            raise ConfigError("unknown protocol", found=found, expected=expected)
        protocols = (args.protocol,) if args.protocol else task.protocols
        metrics = run_folds(opened, experiment_from(args, task), protocols)
    except ActrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, fold in metrics.get("folds", {}).items():
        print(f"{name:>18} {100 * fold['accuracy']['pose']:5.1f} %  of {fold['clips']['test']} clips")
    for metric in opened.metrics:
        print(f"{metric:>18} {100 * metrics[metric]['pose']:5.1f} %  {metrics['protocol']}")
    print(f"results in {args.workdir}")
    return 0
