"""`keras-actrec extract clip-maps`: person clips through a frozen video network."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.extraction.script import CONFIG_TITLE, add_network_arguments, run_options

HELP = """\
Writes the cache of clip maps: each person clip through a frozen video network once, so that VPN trains without a GPU.

in:  the person clips (`keras-actrec extract person-clips`), and weights of the network
     (preprocessing/convert_i3d_checkpoint.py), or, for trials, --backbone-weights random
out: a folder of HDF5 files; a map of I3D over 64 frames takes 0.8 MB

Stop it whenever you like: the same command goes on with what is missing. A GPU is used where TensorFlow finds one; then
--workers 1 is best. Several machines share one cache in a common folder with --shard 0/4, 1/4, …

example:
  keras-actrec extract clip-maps --clips cache/clips --cache cache/maps --backbone-weights i3d.weights.h5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    clips = "folder of the person clips, an HDF5 cache or JPEG folders"
    add("--clips", type=Path, required=True, metavar="FOLDER", help=clips)
    add("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the cache of clip maps to write")

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    names = "i3d, resnext101_3d, or your own package.module:function (default: %(default)s)"
    config("--backbone", default="i3d", metavar="NAME", help=names)
    weights = "a file .weights.h5, random (for trials), or own (what your function returns)"
    config("--backbone-weights", required=True, metavar="WEIGHTS", help=weights)
    config("--seed", type=int, default=0, metavar="N", help="of random weights (default: %(default)s)")
    config("--frames", type=int, default=64, metavar="N", help="of a view (default: %(default)s)")
    config("--stride", type=int, default=2, metavar="N", help="from frame to frame of a view (default: %(default)s)")
    config("--views", type=int, default=1, metavar="N", help="per clip, spread evenly over it (default: %(default)s)")
    config("--image-size", type=int, default=224, metavar="PIXELS", help="side that the network takes (default: %(default)s)")
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    add_network_arguments(parser, batch_size=2, rows="views")


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.backbones.visual import BackboneConfig
    from keras_actrec.extraction.clip_maps import extract_clip_maps
    from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig

    report = extract_clip_maps(
        args.clips,
        args.cache,
        backbone=BackboneConfig(args.backbone, args.backbone_weights, args.frames, args.image_size, args.dtype, args.seed),
        sampling=ClipSamplingConfig(frames=args.frames, stride=args.stride, views=args.views),
        batch_size=args.batch_size,
        **run_options(args),
    )
    print(report)
