"""Writes the optical flow of the videos of a data set, for a second stream beside RGB (docs/optical_flow.md).

    python preprocessing/extract_flow.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --cache cache/flow

With --poses only the frames that have a skeleton are read; without, all frames of each video. Stop it whenever you like: the
same command goes on with what is missing. No GPU is used: --workers as many as cores is best. Several machines share one cache
in a common folder with --shard 0/4, --shard 1/4, ... With --method dis a core makes about 100 frames of 320x240 a second, of
18 KB each; tvl1 is what the papers use, needs the package opencv-contrib-python, and makes one frame in two seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset, open_videos
from keras_actrec.extraction.script import add_clip_seconds, add_run_arguments, run_options
from keras_actrec.scripts import exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, required=True, help="which")
    add("--data-root", type=Path, required=True, help="folder of the data set; of your own: the CSV file")
    add("--poses", "--pose-cache", type=Path, help="folder of the pose cache (default: all clips that have a video, whole)")
    add("--cache", "--out", type=Path, required=True, help="folder of the cache of optical flow")

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    config("--method", default="dis", choices=("dis", "tvl1"), help="(default: %(default)s)")
    config("--preset", default="medium", choices=("ultrafast", "fast", "medium"), help="of dis (default: %(default)s)")
    config("--bound", type=float, default=20.0, help="displacement in pixels that is stored as 255 (default: %(default)s)")
    config("--height", type=int, default=240, help="of the pictures in pixels (default: %(default)s)")
    config("--width", type=int, default=320, help="of the pictures in pixels (default: %(default)s)")
    add_run_arguments(parser)
    add_clip_seconds(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from keras_actrec.extraction.flow import extract_flow, flow_videos
    from keras_actrec.video.optical_flow import FlowConfig

    flow = FlowConfig(args.method, (args.height, args.width), args.bound, args.preset)
    dataset = (
        open_dataset(args.dataset, args.data_root, video=True) if args.poses else open_videos(args.dataset, args.data_root)
    )
    videos, lengths = flow_videos(dataset, args.poses)
    print(extract_flow(videos, args.cache, dataset=dataset.name, flow=flow, lengths=lengths, **run_options(args)))


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
