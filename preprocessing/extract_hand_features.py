"""Writes the hand-feature cache of a data set with videos: `keras-actrec extract hands`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import hands
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(hands))
