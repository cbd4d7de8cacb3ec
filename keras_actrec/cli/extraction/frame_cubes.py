"""`keras-actrec extract frame-cubes`: frames or flow through RPAN's frozen image network."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import open_dataset, open_videos
from keras_actrec.extraction.script import CONFIG_TITLE, add_dataset_arguments, add_network_arguments, run_options
from keras_actrec.skeletons.layouts import LAYOUTS

HELP = """\
Writes the cache of frame cubes: views of each clip through RPAN's frozen network once, to train without a GPU.

in:  the videos, or with --flow the cache of optical flow (`keras-actrec extract flow`); the pose cache, or no poses for models
     without them
out: a folder of HDF5 files; a view of 8 frames of 240 x 320 pixels takes 2.6 MB with resnet50, 1.3 MB with bn_inception

Stop it whenever you like: the same command goes on with what is missing. A GPU is used where TensorFlow finds one; then
--workers 1 is best. Several machines share one cache in a common folder with --shard 0/4, 1/4, …

examples:
  keras-actrec extract frame-cubes --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --cache cache/cubes
  keras-actrec extract frame-cubes --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --flow cache/flow \\
      --cache cache/flow_cubes --backbone bn_inception --backbone-weights flow.weights.h5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_dataset_arguments(parser)
    add = parser.add_argument
    add("--poses", type=Path, metavar="FOLDER", help="folder of the pose cache (default: no joints)")
    flow = "folder of the cache of optical flow (default: the videos themselves)"
    add("--flow", type=Path, metavar="FOLDER", help=flow)
    add("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the cache of frame cubes to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    layouts = f"of the joints: {', '.join(LAYOUTS)} (default: that of the pose cache, else of the data set)"
    config("--layout", choices=LAYOUTS, metavar="NAME", help=layouts)
    config("--pixel-size", type=int, nargs=2, metavar=("W", "H"), help="of the frame that joints are of (default: the video's)")
    networks = "resnet50, inception_v3, vgg16 or bn_inception (default: %(default)s)"
    config("--backbone", default="resnet50", metavar="NAME", help=networks)
    config("--layer", default="", metavar="NAME", help="of inception_v3: mixed7 or mixed10 (default: that of the network)")
    weights = "imagenet (downloaded), a file .h5, or random, for trials (default: %(default)s)"
    config("--backbone-weights", default="imagenet", metavar="WEIGHTS", help=weights)
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    config("--seed", type=int, default=0, metavar="N", help="of views, and of random weights (default: %(default)s)")
    config("--frames", type=int, default=8, metavar="N", help="of a view (default: %(default)s)")
    config("--height", type=int, default=240, metavar="PIXELS", help="of the pictures (default: %(default)s)")
    config("--width", type=int, default=320, metavar="PIXELS", help="of the pictures (default: %(default)s)")
    config("--views", type=int, default=1, metavar="N", help="for tests, per clip (default: %(default)s)")
    config("--training-views", type=int, default=2, metavar="N", help="for training, per clip (default: %(default)s)")
    config("--no-mirror", dest="mirror", action="store_false", help="no training view is mirrored (default: every second)")
    add_network_arguments(parser, batch_size=16, rows="frames")


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
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
