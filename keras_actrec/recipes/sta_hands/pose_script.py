"""What the pose scripts of all data sets share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP, exit_status, given

if TYPE_CHECKING:
    from keras_actrec.recipes.sta_hands.experiment import Experiment
    from keras_actrec.recipes.sta_hands.pose import PoseTask


def pose_arguments(dataset: str, doc: str) -> argparse.Namespace:
    """Reads the command line of a pose script. Imports nothing heavy, so that --help answers at once."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-root", type=Path, required=True, help="folder of the data set (your own: the CSV file)")
    add("--workdir", type=Path, help=f"results (default: runs/{dataset}_pose; with --select-by runs/{dataset}_pose_selection)")
    add("--cache-dir", type=Path, help="pose cache, which runs of the same tensors can share (default: WORKDIR/cache)")
    add("--preset", choices=("paper", "tuned"), default="tuned", help="settings (default: %(default)s)")
    add("--protocol", help="one protocol or fold (default: the usual one; all folds, averaged)")
    add(
        "--select-by", choices=("subject", "camera", "setup", "clip"),
        help="compare settings without the test clips: train and score on the training clips of the protocol (of folds, the "
        "first), split by this",
    )  # fmt: skip
    add("--joint-order", choices=("topological", "no_repeats", "random"), help="columns of the pose tensors (Table 4)")
    add("--seed", type=int, default=0, help="initial weights, hold-out, order and draws (default: %(default)s)")
    add("--strategy", choices=STRATEGIES, default="none", help=f"{STRATEGY_HELP} (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")

    train = parser.add_argument_group("training (defaults: those of the preset)").add_argument
    train("--epochs", type=int, help="most epochs of the training")
    train("--learning-rate", type=float, help="of Adam")
    train("--batch-size", type=int, help="clips per step")
    train("--weight-decay", type=float, help="decoupled, per step and unit of learning rate")
    train("--label-smoothing", type=float, help="share of a target that all classes have in common")
    train("--holdout", type=float, help="share of the training clips held out for early stopping")

    augment = parser.add_argument_group("augmentation (defaults: that of the preset)").add_argument
    augment("--no-augmentation", action="store_true", help="train on the clips as they are, but for what is given here")
    augment("--rotation", type=float, help="degrees, ±, about the vertical axis")
    augment("--tilt", type=float, help="degrees, ±, about the horizontal axes")
    augment("--mirror", type=float, help="probability that left and right change places")
    augment("--joint-noise", type=float, help="offset of each joint, constant over the clip, in body sizes")
    augment("--person-swap", type=float, help="probability that the two people change places")
    augment("--window", type=float, help="smallest share of the clip that a sub-sequence spans; 1 is the whole clip")
    args = parser.parse_args()
    args.workdir = args.workdir or Path(f"runs/{dataset}_pose_selection" if args.select_by else f"runs/{dataset}_pose")
    return args


def experiment_from(args: argparse.Namespace, task: PoseTask) -> Experiment:
    """Arguments over the settings of the preset."""
    from keras_actrec.recipes.sta_hands.pose import pose_experiment
    from keras_actrec.skeletons.augmentation import NO_AUGMENTATION

    base = pose_experiment(task, args.preset, args.workdir, seed=args.seed)

    stage = base.pose_stage if args.epochs is None else base.pose_stage.with_epochs(args.epochs)
    return given(
        base,
        tensor=given(base.tensor, order=args.joint_order),
        pose_stage=given(
            stage,
            learning_rate=args.learning_rate,
            batch_size=args.batch_size,
            weight_decay=args.weight_decay,
            label_smoothing=args.label_smoothing,
        ),
        augmentation=given(
            NO_AUGMENTATION if args.no_augmentation else base.augmentation,
            rotation=args.rotation,
            tilt=args.tilt,
            mirror=args.mirror,
            joint_noise=args.joint_noise,
            person_swap=args.person_swap,
            window=args.window,
        ),
        holdout=args.holdout,
        strategy=args.strategy,
        cache_dir=args.cache_dir,
        resume=args.resume,
        retry_left_out=args.retry_left_out,
    )


def run(dataset: str, args: argparse.Namespace) -> None:
    """Runs the experiment that the arguments ask for, and prints its metrics."""
    from keras_actrec.datasets.catalogue import open_dataset
    from keras_actrec.recipes.sta_hands.pose import run_folds, task_of
    from keras_actrec.recipes.sta_hands.selection import run_selection

    opened = open_dataset(dataset, args.data_root, video=False)
    task = task_of(dataset, opened)
    if args.protocol and args.protocol not in opened.protocols():
        found, expected = repr(args.protocol), f"one of {', '.join(opened.protocols())}"
        raise ConfigError("unknown protocol", found=found, expected=expected)
    protocols = (args.protocol,) if args.protocol else task.protocols
    experiment = experiment_from(args, task)
    if args.select_by:
        metrics = run_selection(opened, experiment, protocols[0], args.select_by)
    else:
        metrics = run_folds(opened, experiment, protocols)
    for name, fold in metrics.get("folds", {}).items():
        print(f"{name:>28} {100 * fold['accuracy']['pose']:5.1f} %  of {fold['clips']['test']} clips")
    kind = "selection " if args.select_by else ""
    for metric in opened.metrics:
        print(f"{kind + metric:>28} {100 * metrics[metric]['pose']:5.1f} %  {metrics['protocol']}")
    print(f"results in {args.workdir}")


def main(dataset: str, doc: str) -> int:
    """Runs the pose script of a data set of `keras_actrec.datasets.catalogue`; returns the exit status."""
    args = pose_arguments(dataset, doc)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: run(dataset, args))
