"""Writes the person clips of a data set with videos: every frame cropped to the people in it, as JPEG (docs/person_clips.md).

    python preprocessing/extract_person_clips.py --data-root /data/ntu --poses /data/cache/poses --cache /data/cache/people

Needs the pose cache (extract_poses.py) for the places of the people; with --box whole the frames are kept whole, as Glimpse
Clouds takes them (--size 256). Stop it whenever you like: the same command goes on with what is missing. No GPU is used:
--workers as many as cores is best. Several machines share one cache in a common folder with --shard 0/4, --shard 1/4, ...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.script import add_clip_seconds, add_run_arguments, run_options
from keras_actrec.scripts import exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="ntu_rgbd", help="which (default: %(default)s)")
    add("--data-root", type=Path, required=True, help="folder of the data set; of your own: the CSV file")
    add("--poses", type=Path, required=True, help="folder of the pose cache")
    add("--cache", type=Path, required=True, help="folder of the person clips")

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    config("--size", type=int, default=224, help="side of an image in pixels (default: %(default)s)")
    margin = "widening of the box on each side, as a share of its longer side; not of whole frames (default: %(default)s)"
    config("--margin", type=float, default=0.15, help=margin)
    box = "one for all frames, one that follows the people, or the whole frame, stretched (default: %(default)s)"
    config("--box", default="clip", choices=("clip", "frame", "whole"), help=box)
    config("--quality", type=int, default=95, help="of the JPEGs, 1 to 100 (default: %(default)s)")
    storage = "HDF5 shards, or a folder of images per clip (default: %(default)s)"
    config("--storage", default="hdf5", choices=("hdf5", "jpeg"), help=storage)
    size = "frame that the skeleton's pixels refer to, where the videos have another size (NTU: 1920 1080)"
    config("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    add_run_arguments(parser)
    add_clip_seconds(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips

    report = extract_person_clips(
        open_dataset(args.dataset, args.data_root, video=True),
        args.poses,
        args.cache,
        crop=PersonCropConfig(args.size, args.margin, args.box, args.quality),
        storage=args.storage,
        pixel_size=None if args.pixel_size is None else tuple(args.pixel_size),
        **run_options(args),
    )
    print(report)


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
