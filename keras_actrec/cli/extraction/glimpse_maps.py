"""`keras-actrec extract glimpse-maps`: whole frames through Glimpse Clouds' frozen backbone."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.extraction.script import CONFIG_TITLE, add_network_arguments, run_options

HELP = """\
Writes the cache of glimpse maps: views of each clip through Glimpse Clouds' frozen backbone once, to train without a GPU.

in:  whole frames (`keras-actrec extract person-clips --box whole --size 256`), the pose cache that they were made with, and
     weights of the backbone
out: a folder of HDF5 files; a view of 8 frames of 224 pixels takes 1.6 MB: with 5 views for tests and 5 for training
     16 MB a clip

Stop it whenever you like: the same command goes on with what is missing. A GPU is used where TensorFlow finds one; then
--workers 1 is best. Several machines share one cache in a common folder with --shard 0/4, 1/4, …

example:
  keras-actrec extract glimpse-maps --clips cache/frames --poses cache/poses --cache cache/glimpse_maps \\
      --backbone-weights backbone.weights.h5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("--clips", type=Path, required=True, metavar="FOLDER", help="folder of the clips, an HDF5 cache or JPEG folders")
    add("--poses", type=Path, required=True, metavar="FOLDER", help="folder of the pose cache")
    add("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the cache of glimpse maps to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    weights = "imagenet (downloaded), a file .h5, or random, for trials (default: %(default)s)"
    config("--backbone-weights", default="imagenet", metavar="WEIGHTS", help=weights)
    config("--inflation", default="center", choices=("center", "mean"), help="of ImageNet weights (default: %(default)s)")
    config("--structure", default="keras", choices=("keras", "torchvision"), help="of the ResNet-50 (default: %(default)s)")
    config("--seed", type=int, default=0, metavar="N", help="of views, and of random weights (default: %(default)s)")
    config("--frames", type=int, default=8, metavar="N", help="of a view (default: %(default)s)")
    config("--image-size", type=int, default=224, metavar="PIXELS", help="side of the crops (default: %(default)s)")
    config("--views", type=int, default=5, metavar="N", help="for tests, per clip (default: %(default)s)")
    config("--training-views", type=int, default=5, metavar="N", help="for training, per clip (default: %(default)s)")
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    add_network_arguments(parser, batch_size=2, rows="views")


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
    from keras_actrec.extraction.glimpse_maps import extract_glimpse_maps
    from keras_actrec.video.rgb_clips import RGBClipConfig

    report = extract_glimpse_maps(
        args.clips,
        args.poses,
        args.cache,
        backbone=InflatedResNetConfig(
            weights=args.backbone_weights,
            frames=args.frames,
            image_size=args.image_size,
            structure=args.structure,
            inflation=args.inflation,
            dtype=args.dtype,
            seed=args.seed,
        ),
        views=RGBClipConfig(args.frames, args.image_size, args.views, args.seed),
        training_views=args.training_views,
        batch_size=args.batch_size,
        **run_options(args),
    )
    print(report)
