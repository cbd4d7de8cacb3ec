"""`keras-actrec extract rescale`: videos at the size that a network reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.script import add_worker_arguments, workers_from

HELP = """\
Writes videos again at the size that a network reads, so that every later step decodes less (docs/person_clips.md).

in:  a folder with videos, at any depth
out: every video at the same place below --target, 256x256 without keeping proportions unless told otherwise, with as many
     frames at the same rate; videos that do not decode are listed at the end, which is then an exit status of 1

Stop it whenever you like: the same command goes on with what is missing. Several machines share the work with --shard 0/4,
1/4, ... The skeletons' pixels still refer to the first size: give it to `extract person-clips` as --pixel-size (NTU: 1920
1080).

example:
  keras-actrec extract rescale --source /data/ntu --target /data/ntu_256 --link-others --workers 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    source = "folder with videos, at any depth; of your own data set: the CSV file"
    add("--source", type=Path, required=True, metavar="FOLDER", help=source)
    add("--target", type=Path, required=True, metavar="FOLDER", help="folder of the rescaled videos to write")
    add("--dataset", choices=DATASETS, metavar="NAME", help="only the clips of this data set, whose data root is --source")
    add("--link-others", action="store_true", help="also link all other files, so that --target is a data set as --source is")

    config = parser.add_argument_group("how videos are rescaled").add_argument
    config("--size", type=int, default=256, metavar="PIXELS", help="side in pixels, even (default: %(default)s)")
    config("--keep-proportions", action="store_true", help="--size is the shorter side; else frames become squares")
    container = "of all videos; same: .avi stays .avi and .mp4 .mp4, others become .avi (default: %(default)s)"
    config("--container", default="same", choices=("same", ".avi", ".mp4"), help=container)
    add_worker_arguments(parser, shares="video")


def run(args: argparse.Namespace) -> int:
    """Rescales, prints what was done, and gives 1 where a video is broken."""
    from keras_actrec.extraction.rescale import rescale_videos
    from keras_actrec.video.rescale import RescaleConfig

    dataset = open_dataset(args.dataset, args.source, video=True) if args.dataset else None
    report = rescale_videos(
        args.source if dataset is None else dataset.root,
        args.target,
        RescaleConfig(args.size, args.keep_proportions, args.container),
        dataset=dataset,
        link_others=args.link_others,
        workers=workers_from(args),
        progress=args.progress,
        share=args.share,
    )
    print(report)
    return int(bool(report.broken))
