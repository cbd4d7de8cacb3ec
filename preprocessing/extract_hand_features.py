"""Writes the hand-feature cache of a data set with videos: crops around the hands through an image network, float16.

    python preprocessing/extract_hand_features.py --data-root /data/ntu --poses /data/cache/poses --cache /data/cache/hands

Needs the pose cache (extract_poses.py) for the places of the hands. Stop it whenever you like: the same command goes on with
what is missing. A GPU is used where TensorFlow finds one; then --workers 1 is best. Several machines share one cache in a
common folder with --shard 0/4, --shard 1/4, ...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.script import add_clip_seconds, add_network_arguments, run_options
from keras_actrec.scripts import tensorflow_script


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="ntu_rgbd", help="which (default: %(default)s)")
    add("--data-root", type=Path, required=True, help="folder of the data set; of your own: the CSV file")
    add("--poses", type=Path, required=True, help="folder of the pose cache")
    add("--cache", type=Path, required=True, help="folder of the hand-feature cache")

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    config("--sensor", default="inception_v3", choices=("inception_v3", "resnet50"), help="network (default: %(default)s)")
    config("--sensor-weights", default="imagenet", help="imagenet, random, or a weights file .h5 (default: %(default)s)")
    config("--sensor-seed", type=int, default=0, help="of random weights (default: %(default)s)")
    config("--image-size", type=int, default=299, help="side that a crop is resized to (default: %(default)s)")
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    config("--crop-size", type=int, default=50, help="side of a crop in pixels of the video (default: %(default)s)")
    size = "frame that the skeleton's pixels refer to, where the videos have another size (NTU: 1920 1080)"
    config("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    add_network_arguments(parser, batch_size=64, rows="crops")
    add_clip_seconds(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    sys.exit(tensorflow_script(arguments, run))
