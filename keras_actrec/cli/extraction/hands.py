"""`keras-actrec extract hands`: the hand-feature cache of a data set with videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import open_dataset
from keras_actrec.extraction.script import (
    CONFIG_TITLE,
    add_clip_seconds,
    add_dataset_arguments,
    add_network_arguments,
    run_options,
)

HELP = """\
Writes the hand-feature cache of a data set with videos: crops around the hands through an image network, float16.

in:  the videos, and the pose cache (`keras-actrec extract poses`), which says where the hands are
out: a folder of HDF5 files: 2048 values for each hand and frame; what cannot be used is counted and listed with the reason

Stop it whenever you like: the same command goes on with what is missing. A GPU is used where TensorFlow finds one; then
--workers 1 is best. Several machines share one cache in a common folder with --shard 0/4, --shard 1/4, ...

example:
  keras-actrec extract hands --data-root /data/ntu --poses /data/cache/poses --cache /data/cache/hands --workers 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_dataset_arguments(parser, default="ntu_rgbd")
    add = parser.add_argument
    add("--poses", type=Path, required=True, metavar="FOLDER", help="folder of the pose cache")
    add("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the hand-feature cache to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    config("--sensor", default="inception_v3", choices=("inception_v3", "resnet50"), help="network (default: %(default)s)")
    weights = "imagenet (downloaded once), a weights file .h5, or random, for trials (default: %(default)s)"
    config("--sensor-weights", default="imagenet", metavar="WEIGHTS", help=weights)
    config("--sensor-seed", type=int, default=0, metavar="N", help="of random weights (default: %(default)s)")
    config("--image-size", type=int, default=299, metavar="PIXELS", help="side of a resized crop (default: %(default)s)")
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    config("--crop-size", type=int, default=50, metavar="PIXELS", help="side of a crop in the video (default: %(default)s)")
    size = "frame that the skeleton's pixels refer to, where the videos have another size (NTU: 1920 1080)"
    config("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    add_network_arguments(parser, batch_size=64, rows="crops")
    add_clip_seconds(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.backbones.sensors import SensorConfig
    from keras_actrec.extraction.hand_features import extract_hand_features

    report = extract_hand_features(
        open_dataset(args.dataset, args.data_root, video=True),
        args.poses,
        args.cache,
        sensor=SensorConfig(args.sensor, args.sensor_weights, args.image_size, args.dtype, args.sensor_seed),
        crop_size=args.crop_size,
        pixel_size=None if args.pixel_size is None else tuple(args.pixel_size),
        batch_size=args.batch_size,
        **run_options(args),
    )
    print(report)
