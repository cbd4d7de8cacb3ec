"""Writes the optical flow of the videos of a data set: `keras-actrec extract flow`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import flow
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(flow))
