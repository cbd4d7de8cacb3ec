"""`keras-actrec extract person-clips`: every frame cropped to the people in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import open_dataset
from keras_actrec.extraction.script import (
    CONFIG_TITLE,
    add_clip_seconds,
    add_dataset_arguments,
    add_run_arguments,
    run_options,
)

HELP = """\
Writes the person clips of a data set with videos: every frame cropped to the people in it, as JPEG (docs/person_clips.md).

in:  the videos, and the pose cache (`keras-actrec extract poses`), which says where the people are
out: a folder of HDF5 files, or of folders of JPEGs; what cannot be used is counted and listed with the reason

With --box whole the frames are kept whole, as Glimpse Clouds takes them (--size 256). Stop it whenever you like: the same
command goes on with what is missing. No GPU is used: --workers as many as cores is best. Several machines share one cache in a
common folder with --shard 0/4, --shard 1/4, ...

example:
  keras-actrec extract person-clips --data-root /data/ntu --poses /data/cache/poses --cache /data/cache/people --workers 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_dataset_arguments(parser, default="ntu_rgbd")
    add = parser.add_argument
    add("--poses", type=Path, required=True, metavar="FOLDER", help="folder of the pose cache")
    add("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the person clips to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    config("--size", type=int, default=224, metavar="PIXELS", help="side of an image in pixels (default: %(default)s)")
    margin = "widening of the box on each side, as a share of its longer side; not of whole frames (default: %(default)s)"
    config("--margin", type=float, default=0.15, metavar="SHARE", help=margin)
    box = "one for all frames, one that follows the people, or the whole frame, stretched (default: %(default)s)"
    config("--box", default="clip", choices=("clip", "frame", "whole"), help=box)
    config("--quality", type=int, default=95, metavar="N", help="of the JPEGs, 1 to 100 (default: %(default)s)")
    storage = "HDF5 shards, or a folder of images per clip (default: %(default)s)"
    config("--storage", default="hdf5", choices=("hdf5", "jpeg"), help=storage)
    size = "frame that the skeleton's pixels refer to, where the videos have another size (NTU: 1920 1080)"
    config("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    add_run_arguments(parser)
    add_clip_seconds(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the person clips, and prints what was written and left out."""
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
