"""Writes the cache of frame cubes for RPAN: `keras-actrec extract frame-cubes`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import frame_cubes
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(frame_cubes))
