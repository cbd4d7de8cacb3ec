"""Counts the clips of a data root: `keras-actrec datasets check`, by the name that it had before."""

from __future__ import annotations

import argparse
import sys

from keras_actrec.cli.dataset.check import HELP, add_root_arguments, run
from keras_actrec.cli.main import script
from keras_actrec.datasets.catalogue import DATASETS

__all__ = ["HELP", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name of the data set is an option here."""
    parser.add_argument("--dataset", choices=DATASETS, default="ntu_rgbd", metavar="NAME", help="(default: %(default)s)")
    add_root_arguments(parser)


if __name__ == "__main__":
    sys.exit(script(sys.modules[__name__]))
