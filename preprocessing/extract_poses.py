"""Writes the pose cache of a data set: `keras-actrec extract poses`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import poses
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(poses))
