"""Counts the clips of a data root, and names what differs from the published numbers.

python preprocessing/check_dataset.py --dataset sbu /data/sbu
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.scripts import exit_status

REASONS = 10  # shown


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", help="folder of the data set, in any sub-folders; of your own: the CSV file")
    parser.add_argument("--dataset", choices=DATASETS, default="ntu_rgbd", help="which (default: %(default)s)")
    parser.add_argument("--modality", choices=("both", "skeleton"), default="both", help="clips need a video too, or not")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
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


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
