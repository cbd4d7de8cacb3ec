"""Turns a published BN-Inception of Temporal Segment Networks into a Keras weights file, which the frame networks of RPAN load.

    NAME=reference_bn_inception.caffemodel
    python preprocessing/convert_tsn_checkpoint.py ucf101_split_1_tsn_rgb_$NAME tsn_rgb.weights.h5
    python preprocessing/convert_tsn_checkpoint.py ucf101_split_1_tsn_flow_$NAME tsn_flow.weights.h5

SOURCE is a .caffemodel of github.com/yjxiong/temporal-segment-networks, or a .pth or .safetensors file with the state_dict of
github.com/yjxiong/tsn-pytorch. It is read without Caffe or PyTorch, and nothing in it is run. Every name and shape is checked.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from keras_actrec.convert.script import conversion_parser, conversion_script

if TYPE_CHECKING:
    import keras


def arguments() -> argparse.Namespace:
    parser = conversion_parser(__doc__, source=".caffemodel, .pth or .safetensors file")
    parser.add_argument(
        "--channels", type=int, help="3 for RGB, 10 for optical flow; another file is refused then (default: the file's)"
    )
    parser.add_argument(
        "--inverse-deviation",
        action="store_true",
        help="the file is a .caffemodel from before April 2016, whose batch norms hold 1 / sqrt(variance + 1e-5)",
    )
    return parser.parse_args()


def convert(args: argparse.Namespace) -> keras.Model:
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    from keras_actrec.convert.tsn_bn_inception import convert_tsn

    return convert_tsn(args.source, args.out, channels=args.channels, inverse_deviation=args.inverse_deviation)


def channels(model: keras.Model) -> str:
    return f", for pictures of {model.input_shape[-1]} channels"


if __name__ == "__main__":
    sys.exit(conversion_script(arguments, convert, remark=channels))
