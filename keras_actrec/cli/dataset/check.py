"""`keras-actrec datasets check`: counts the clips of a data root, and names what differs from the published numbers."""

from __future__ import annotations

import argparse
from collections import Counter

from keras_actrec.datasets.catalogue import DATASETS, open_dataset

HELP = """\
Counts the clips of a data root, and names what differs from the published numbers.

in:  the folder of a data set, as its authors publish it, in any sub-folders (docs/data_sets.md); or the CSV of your own clips
out: clips, classes, the two sides of each protocol; clips that are missing, that were not published, or that cannot be used
     and why. Nothing is changed.

examples:
  keras-actrec datasets check sbu /data/sbu
  keras-actrec datasets check ntu_rgbd /data/ntu --modality skeleton
  keras-actrec datasets check own kitchen/clips.csv
"""

REASONS = 10  # shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("dataset", choices=DATASETS, metavar="NAME", help=f"of the data set, one of {', '.join(DATASETS)}")
    add_root_arguments(parser)


def add_root_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the data root, and which of its clips count."""
    parser.add_argument("data_root", metavar="ROOT", help="folder of the data set, in any sub-folders; of own: the CSV file")
    modality = "both: clips need a skeleton and a video; skeleton: clips without a video count too (default: %(default)s)"
    parser.add_argument("--modality", choices=("both", "skeleton"), default="both", help=modality)


def run(args: argparse.Namespace) -> None:
    """Prints what is there and what differs."""
    dataset = open_dataset(args.dataset, args.data_root, video=args.modality == "both")
    protocols, mismatches = dataset.protocols(), dataset.count_mismatches()
    clips, classes = len(dataset.records), len(dataset.class_names)
    print(f"{dataset.name}: {clips} clips of {classes} classes, {len(dataset.left_out)} left out")
    for name, split in protocols.items():
        print(f"{name}: {len(split.train)} train, {len(split.test)} test")
    for mismatch in mismatches:
        print(f"differs: {mismatch}")
    for reason, number in Counter(clip.reason for clip in dataset.left_out).most_common(REASONS):
        print(f"left out: {number} clips, {reason}")
    ignored = getattr(dataset, "ignored", ())  # of data sets whose clips are known by the names of their files
    if ignored:
        print(f"ignored: {len(ignored)} files whose names are no clip names, e.g. {ignored[0]}")
