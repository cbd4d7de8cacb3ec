"""`keras-actrec train`: a model from a CSV of videos and labels."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from keras_actrec.cli.pose_arguments import add_pose_estimation, pose_estimation
from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP

MODELS = ("sta_hands", "vpn", "glimpse_clouds", "rpan")

HELP = """\
Trains a model on your own videos: finds the people, caches what the networks need, trains, tests, writes a report, exports.

in:  a CSV with the columns video and label, a row for each clip of one action (a few seconds); paths are relative to the CSV.
     Columns that may be there: split (train or test; else a share of each class is put to the test; split_2, … are further
     protocols), skeleton (a pose file of your own; poses are estimated for clips without), clip, subject, camera, frame_rate.
out: WORKDIR/report.html      accuracies by class, confusions, curves, attention, left-out clips
     WORKDIR/export/          the trained model, for `keras-actrec predict --model WORKDIR/export`
     WORKDIR/metrics.json     the numbers

Stop it at any moment and run the same command again: nothing that is finished is repeated; with --resume the training goes on.

examples:
  keras-actrec train clips.csv --workdir runs/mine
  keras-actrec train clips.csv --workdir runs/mine --weights resnet50.weights.h5 --workers 2
  keras-actrec train clips.csv --workdir runs/mine_rpan --model rpan
  keras-actrec train clips.csv --workdir runs/folds --protocol split1 split2 split3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("csv", type=Path, metavar="CLIPS.csv", help="the list of videos and labels")
    add("--workdir", type=Path, help="folder for the results (default: runs/NAME_MODEL, of the CSV's name)")
    add("--cache-dir", type=Path, help="folder for poses and features, which several runs can share (default: WORKDIR/cache)")
    add("--model", choices=MODELS, default="sta_hands", help="which model (default: %(default)s, the two-stream network)")
    add("--preset", help="variant of the model, see docs/models.md (default: that of the model)")
    protocol = "split columns to train and test on; several are averaged (default: the first)"
    add("--protocol", nargs="+", default=(), metavar="SPLIT", help=protocol)
    add("--test-share", type=float, default=0.3, help="of each class, where the CSV has no split (default: %(default)s)")
    add("--seed", type=int, default=0, help="initial weights, draws, and the split where it is drawn (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")
    add("--workers", type=int, default=1, help="processes for poses and features (default: %(default)s)")

    video = parser.add_argument_group("image network").add_argument
    weights = "imagenet (default; Keras downloads them), a weights file, or random for trials; VPN: a file of converted weights"
    video("--weights", default="imagenet", help=weights)
    video("--sensor", choices=("resnet50", "inception_v3"), default="resnet50", help="of sta_hands (default: %(default)s)")
    video("--image-size", type=int, metavar="PIXELS", help="side of what it sees (default: 224; inception_v3: 299)")
    crop = "of sta_hands: side of the squares around the hands, in pixels of the video (default: a third of its height)"
    video("--crop-size", type=int, metavar="PIXELS", help=crop)

    train = parser.add_argument_group("training (defaults: those of the model)").add_argument
    train("--epochs", type=int, help="of every stage")
    train("--batch-size", type=int, help="clips per step")
    train("--learning-rate", type=float, help="highest one; of sta_hands that of the RGB stream")
    train("--strategy", choices=STRATEGIES, default="none", help=f"{STRATEGY_HELP} (default: %(default)s)")
    add_pose_estimation(parser)


def run(args: argparse.Namespace) -> None:
    """Trains, and prints what came out."""
    from keras_actrec.recipes.own.experiment import OwnTraining
    from keras_actrec.recipes.own.run import train_on_videos
    from keras_actrec.recipes.own.videos import VideoListConfig

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    workdir = args.workdir or Path("runs") / f"{args.csv.stem}_{args.model}"
    videos = VideoListConfig(
        args.csv, test_share=args.test_share, seed=args.seed, poses=pose_estimation(args), pose_model=args.pose_model,
        workers=args.workers,
    )  # fmt: skip
    names = (
        "model", "preset", "weights", "sensor", "image_size", "crop_size", "epochs", "batch_size", "learning_rate", "workers",
        "seed", "strategy", "resume", "retry_left_out", "cache_dir",
    )  # fmt: skip
    training = OwnTraining(workdir, **{name: getattr(args, name) for name in names})
    _, metrics = train_on_videos(videos, training, protocols=tuple(args.protocol))
    for stream, accuracy in metrics["accuracy"].items():
        print(f"{stream:>8} {100 * accuracy:5.1f} %  of {metrics['clips']['test']} test clips, {metrics['protocol']}")
    print(f"report: {workdir / 'report.html'}")
    folder = workdir if len(args.protocol) < 2 else workdir / args.protocol[0]
    print(f"use it: keras-actrec predict VIDEO --model {folder / 'export'}")
