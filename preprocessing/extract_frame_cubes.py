"""Writes the cache of frame cubes: views of each clip through RPAN's frozen network once, to train without a GPU.

    python preprocessing/extract_frame_cubes.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --cache cache/cubes
    python preprocessing/extract_frame_cubes.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --flow cache/flow \\
        --cache cache/flow_cubes --backbone bn_inception --backbone-weights flow.weights.h5

Reads videos, or with --flow the cache that extract_flow.py writes. Without --poses the cubes are for models without poses. Stop
it whenever you like: the same command goes on with what is missing. A GPU is used where TensorFlow finds one; then --workers 1
is best. Several machines share one cache in a common folder with --shard 0/4, 1/4, … A view of 8 frames of 240 x 320 pixels
takes 2.6 MB with resnet50, 1.3 MB with bn_inception.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset, open_videos
from keras_actrec.extraction.script import add_network_arguments, run_options
from keras_actrec.scripts import tensorflow_script
from keras_actrec.skeletons.layouts import LAYOUTS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, required=True, help="which")
    add("--data-root", type=Path, required=True, help="folder of the data set; of your own: the CSV file")
    add("--poses", type=Path, help="folder of the pose cache (default: no joints)")
    add("--flow", type=Path, help="folder of the cache of optical flow (default: the videos themselves)")
    add("--cache", type=Path, required=True, help="folder of the cache of frame cubes")

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    config("--layout", choices=LAYOUTS, help="of the joints (default: that of the pose cache, else of the data set)")
    config("--pixel-size", type=int, nargs=2, metavar=("W", "H"), help="of the frame that joints are of (default: the video's)")
    networks = "resnet50, inception_v3, vgg16 or bn_inception (default: %(default)s)"
    config("--backbone", default="resnet50", help=networks)
    config("--layer", default="", help="of inception_v3: mixed7 or mixed10 (default: that of the network)")
    weights = "imagenet (downloaded), a file .h5, or random, for trials (default: %(default)s)"
    config("--backbone-weights", default="imagenet", help=weights)
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    config("--seed", type=int, default=0, help="of views, and of random weights (default: %(default)s)")
    config("--frames", type=int, default=8, help="of a view (default: %(default)s)")
    config("--height", type=int, default=240, help="of the pictures in pixels (default: %(default)s)")
    config("--width", type=int, default=320, help="of the pictures in pixels (default: %(default)s)")
    config("--views", type=int, default=1, help="for tests, per clip (default: %(default)s)")
    config("--training-views", type=int, default=2, help="for training, per clip (default: %(default)s)")
    config("--no-mirror", dest="mirror", action="store_false", help="no training view is mirrored (default: every second)")
    add_network_arguments(parser, batch_size=16, rows="frames")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.backbones.frame_networks import FrameBackboneConfig
    from keras_actrec.extraction.frame_cubes import extract_frame_cubes
    from keras_actrec.extraction.pictures import cube_layout, dataset_pictures
    from keras_actrec.video.frame_clips import FrameClipConfig

    size = (args.height, args.width)
    if args.poses:
        dataset = open_dataset(args.dataset, args.data_root, video=True)
    else:
        dataset = open_videos(args.dataset, args.data_root)
    pictures = dataset_pictures(dataset, size, pose_directory=args.poses, flow_directory=args.flow)
    report = extract_frame_cubes(
        pictures,
        args.cache,
        dataset=dataset.name,
        layout=LAYOUTS[args.layout] if args.layout else cube_layout(dataset, args.poses),
        pose_directory=args.poses,
        pixel_size=tuple(args.pixel_size) if args.pixel_size else None,
        backbone=FrameBackboneConfig(
            name=args.backbone,
            picture_size=size,
            channels=pictures.channels,
            layer=args.layer,
            weights=args.backbone_weights,
            dtype=args.dtype,
            seed=args.seed,
        ),
        views=FrameClipConfig(args.frames, size, args.views, args.mirror, args.seed),
        training_views=args.training_views,
        batch_size=args.batch_size,
        **run_options(args),
    )
    print(report)


if __name__ == "__main__":
    sys.exit(tensorflow_script(arguments, run))
