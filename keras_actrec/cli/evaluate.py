"""`keras-actrec evaluate`: an exported model on clips of known classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.cli.model_arguments import add_model_arguments, plain_warnings, recognizer_from
from keras_actrec.datasets.catalogue import DATASETS, open_dataset, open_videos
from keras_actrec.datasets.listed_clips import open_listed
from keras_actrec.datasets.record import ActionDataset

HELP = """\
Measures a trained model on clips whose classes are known: how many does it get right?

in:  a CSV of videos and labels, as `keras-actrec train` takes it (docs/own_data.md; `keras-actrec datasets csv` writes one), or
     the folder of a public data set with --dataset; and an exported model. Classes are matched by their names. Of a clip
     without a skeleton the poses are estimated, where the model needs them.
out: accuracy, mean class accuracy and macro F1, printed and in OUT/metrics.json; OUT/report.html with everything to look at;
     predictions.csv (a row for each clip), scores.npz (probabilities), confusion_*.png, left_out.csv

A clip that cannot be classified is left out and listed with the reason. Both accuracies are given: that of the classified
clips, and the one that counts the left-out clips as wrong. Stop it whenever you like: the same command goes on behind the last
clip.

examples:
  keras-actrec evaluate clips.csv --model runs/mine/export --out runs/mine/evaluated
  keras-actrec evaluate /data/jhmdb --dataset jhmdb --protocol split1 --model runs/jhmdb/export --out runs/jhmdb/evaluated
  keras-actrec evaluate clips.csv --model runs/mine/export --out estimated --estimate-poses   # as if there were no skeletons
"""

SHOWN = 10
"""Left-out clips that are printed; left_out.csv has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("clips", type=Path, metavar="CLIPS", help="CSV of clips; or with --dataset the folder of a public data set")
    add("--out", type=Path, default=Path("evaluated"), metavar="FOLDER", help="for the results (default: %(default)s)")
    dataset = f"what CLIPS is: {', '.join(DATASETS)} (default: %(default)s, a CSV)"
    add("--dataset", choices=DATASETS, default="own", metavar="NAME", help=dataset)
    protocol = (
        "column of the CSV, or protocol of the data set, that says which clips test (default: split, or the only one; for a "
        "CSV without such a column a share of 0.3 of each class is drawn, the one that `train` draws)"
    )
    add("--protocol", metavar="NAME", help=protocol)
    estimate = "use no skeletons of the data set: estimate poses in the videos, as for videos that have none"
    add("--estimate-poses", action="store_true", help=estimate)
    add("--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    add_model_arguments(parser)


def dataset_from(args: argparse.Namespace) -> ActionDataset:
    """The clips; where a list has no skeletons, or they do not count, those of the videos."""
    if args.dataset == "own":
        return open_listed(args.clips, skeletons=not args.estimate_poses)
    if args.estimate_poses:
        return open_videos(args.dataset, args.clips)
    return open_dataset(args.dataset, args.clips, video=False)


def run(args: argparse.Namespace) -> None:
    """Classifies the clips, writes the result files and prints the numbers."""
    from keras_actrec.cli.scoring import Measured, choose_protocol, score_export

    dataset = dataset_from(args)
    measured = Measured(dataset, choose_protocol(dataset, args.protocol), not args.estimate_poses)
    with plain_warnings():
        found = score_export(
            recognizer_from(args), measured, args.out, export=args.model, flow_model=args.flow_model, progress=args.progress
        )
    evaluation, stream = found.evaluation, found.stream
    clips, missing = len(evaluation.clip_ids), len({clip.clip_id for clip in found.left_out})
    right = int((evaluation.predictions(stream) == evaluation.labels).sum())
    print(f"accuracy             {right / clips:7.2%}  {right} of {clips} classified clips")
    print(f"                     {right / (clips + missing):7.2%}  of {clips + missing}, with {missing} left out as wrong")
    print(f"mean class accuracy  {evaluation.mean_class_accuracy[stream]:7.2%}")
    print(f"macro F1             {evaluation.macro_f1[stream]:7.2%}")
    for clip in found.left_out[:SHOWN]:
        print(f"left out: {clip.clip_id}, {clip.reason}")
    if len(found.left_out) > SHOWN:
        print(f"left out: {len(found.left_out) - SHOWN} more, see {args.out / 'left_out.csv'}")
    print(f"wrote {args.out}: report.html, metrics.json, predictions.csv, …")
