"""Writes videos again at the size that a network reads: `keras-actrec extract rescale`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import rescale
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(rescale))
