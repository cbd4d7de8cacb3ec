"""Writes the person clips of a data set with videos: `keras-actrec extract person-clips`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import person_clips
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(person_clips))
