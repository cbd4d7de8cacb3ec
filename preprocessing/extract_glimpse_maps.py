"""Writes the cache of glimpse maps for Glimpse Clouds: `keras-actrec extract glimpse-maps`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import glimpse_maps
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(glimpse_maps))
