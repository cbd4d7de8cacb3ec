"""Writes the cache of clip maps: each person clip through a frozen video network once, so that VPN trains without a GPU.

    python preprocessing/extract_clip_maps.py --clips cache/clips --cache cache/maps --backbone-weights i3d.weights.h5

Needs the person clips (extract_person_clips.py) and the network's weights (convert_i3d_checkpoint.py), or, for trials,
--backbone-weights random. Stop it whenever you like: the same command goes on with what is missing. A GPU is used where
TensorFlow finds one; then --workers 1 is best. Several machines share one cache in a common folder with --shard 0/4, 1/4, …
A map of I3D over 64 frames takes 0.8 MB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.extraction.script import add_network_arguments, run_options
from keras_actrec.scripts import tensorflow_script


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--clips", type=Path, required=True, help="folder of the person clips, an HDF5 cache or JPEG folders")
    add("--cache", type=Path, required=True, help="folder of the cache of clip maps")

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    names = "i3d, resnext101_3d, or your own package.module:function (default: %(default)s)"
    config("--backbone", default="i3d", help=names)
    weights = "a file .weights.h5, random (for trials), or own (what your function returns)"
    config("--backbone-weights", required=True, help=weights)
    config("--seed", type=int, default=0, help="of random weights (default: %(default)s)")
    config("--frames", type=int, default=64, help="of a view (default: %(default)s)")
    config("--stride", type=int, default=2, help="from frame to frame of a view (default: %(default)s)")
    config("--views", type=int, default=1, help="per clip, spread evenly over it (default: %(default)s)")
    config("--image-size", type=int, default=224, help="side that the network takes (default: %(default)s)")
    config("--dtype", default="float32", choices=("float32", "bfloat16"), help="computation (default: %(default)s)")
    add_network_arguments(parser, batch_size=2, rows="views")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    sys.exit(tensorflow_script(arguments, run))
