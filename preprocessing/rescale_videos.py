"""Writes videos again at the size that a network reads, so that every later step decodes less (docs/person_clips.md).

    python preprocessing/rescale_videos.py --source /data/ntu --target /data/ntu_256 --link-others --workers 8

Every video below --source comes to the same place below --target, 256x256 without keeping proportions unless told otherwise,
with as many frames at the same rate. Stop it whenever you like: the same command goes on with what is missing. Videos that do
not decode are listed at the end, which is then an exit status of 1. Several machines share the work with --shard 0/4, 1/4, ...
The skeletons' pixels still refer to the first size: give it to extract_person_clips.py as --pixel-size (NTU: 1920 1080).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.script import add_worker_arguments, workers_from
from keras_actrec.scripts import exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", type=Path, required=True, help="folder with videos, at any depth; of your own data set: the CSV file")
    add("--target", type=Path, required=True, help="folder of the rescaled videos")
    add("--dataset", choices=DATASETS, help="only the clips of this data set, whose data root is --source")
    add("--link-others", action="store_true", help="also link all other files, so that --target is a data set as --source is")

    config = parser.add_argument_group("how videos are rescaled").add_argument
    config("--size", type=int, default=256, help="side in pixels, even (default: %(default)s)")
    config("--keep-proportions", action="store_true", help="--size is the shorter side; else frames become squares")
    container = "of all videos; same: .avi stays .avi and .mp4 .mp4, others become .avi (default: %(default)s)"
    config("--container", default="same", choices=("same", ".avi", ".mp4"), help=container)
    add_worker_arguments(parser, shares="video")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
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


def main() -> int:
    args = arguments()
    status = []
    return exit_status(lambda: status.append(run(args))) or status[0]


if __name__ == "__main__":
    sys.exit(main())
