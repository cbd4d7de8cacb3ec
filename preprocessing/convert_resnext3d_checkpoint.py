"""Turns published 3D ResNeXt-101 weights into a Keras weights file, which the visual backbone of VPN loads.

    python preprocessing/convert_resnext3d_checkpoint.py resnext-101-kinetics.pth resnext101_3d.weights.h5

SOURCE is a .pth file of github.com/kenshohara/3D-ResNets-PyTorch, branch CVPR2018, which is read without running anything in
it. Every name and shape is checked.
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
    add("source", type=Path, help=".pth file")
    add("out", type=Path, help=f"file to write; its name ends in {ENDING}")
    add("--classes", type=int, default=400, help="of its classifier (default: %(default)s)")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    if not args.out.name.endswith(ENDING):
        raise ConfigError("a Keras weights file needs another name", found=args.out.name, expected=f"one that ends in {ENDING}")
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.convert.resnext3d import convert_resnext3d

    model = convert_resnext3d(args.source, args.out, classes=args.classes)
    print(f"{args.out}: {model.count_params():,} values in {sum(bool(layer.weights) for layer in model.layers)} layers")


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
