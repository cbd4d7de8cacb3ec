"""`keras-actrec extract flow`: the optical flow of the videos of a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import open_dataset, open_videos
from keras_actrec.extraction.script import (
    CONFIG_TITLE,
    add_clip_seconds,
    add_dataset_arguments,
    add_run_arguments,
    run_options,
)

HELP = """\
Writes the optical flow of the videos of a data set, for a second stream beside RGB (docs/optical_flow.md).

in:  the videos; with --poses only the frames that have a skeleton are read, without it all frames of each video
out: a folder of HDF5 files, about 18 KB for each frame of 320x240

Stop it whenever you like: the same command goes on with what is missing. No GPU is used: --workers as many as cores is best.
Several machines share one cache in a common folder with --shard 0/4, --shard 1/4, ... With --method dis a core makes about 100
frames of 320x240 a second; tvl1 is what the papers use, needs the package opencv-contrib-python, and makes one frame in two
seconds.

example:
  keras-actrec extract flow --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --cache cache/flow --workers 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_dataset_arguments(parser)
    add = parser.add_argument
    poses = "folder of the pose cache (default: all clips that have a video, whole)"
    add("--poses", "--pose-cache", type=Path, metavar="FOLDER", help=poses)
    add("--cache", "--out", type=Path, required=True, metavar="FOLDER", help="folder of the cache of optical flow to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    config("--method", default="dis", choices=("dis", "tvl1"), help="how flow is computed (default: %(default)s)")
    config("--preset", default="medium", choices=("ultrafast", "fast", "medium"), help="of dis (default: %(default)s)")
    bound = "displacement that is stored as 255, the largest value (default: %(default)s)"
    config("--bound", type=float, default=20.0, metavar="PIXELS", help=bound)
    config("--height", type=int, default=240, metavar="PIXELS", help="of the pictures (default: %(default)s)")
    config("--width", type=int, default=320, metavar="PIXELS", help="of the pictures (default: %(default)s)")
    add_run_arguments(parser)
    add_clip_seconds(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
    from keras_actrec.extraction.flow import extract_flow, flow_videos
    from keras_actrec.video.optical_flow import FlowConfig

    flow = FlowConfig(args.method, (args.height, args.width), args.bound, args.preset)
    dataset = (
        open_dataset(args.dataset, args.data_root, video=True) if args.poses else open_videos(args.dataset, args.data_root)
    )
    videos, lengths = flow_videos(dataset, args.poses)
    print(extract_flow(videos, args.cache, dataset=dataset.name, flow=flow, lengths=lengths, **run_options(args)))
