"""Turns published 3D ResNeXt-101 weights into a Keras weights file, which the visual backbone of VPN loads.

    python preprocessing/convert_resnext3d_checkpoint.py resnext-101-kinetics.pth resnext101_3d.weights.h5

SOURCE is a .pth file of github.com/kenshohara/3D-ResNets-PyTorch, branch CVPR2018, which is read without running anything in
it. Every name and shape is checked.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from keras_actrec.convert.script import conversion_parser, conversion_script

if TYPE_CHECKING:
    import keras


def arguments() -> argparse.Namespace:
    parser = conversion_parser(__doc__, source=".pth file")
    parser.add_argument("--classes", type=int, default=400, help="of its classifier (default: %(default)s)")
    return parser.parse_args()


def convert(args: argparse.Namespace) -> keras.Model:
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.convert.resnext3d import convert_resnext3d

    return convert_resnext3d(args.source, args.out, classes=args.classes)


if __name__ == "__main__":
    sys.exit(conversion_script(arguments, convert))
