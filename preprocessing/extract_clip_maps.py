"""Writes the cache of clip maps for VPN: `keras-actrec extract clip-maps`, by the name that it had before."""

from __future__ import annotations

import sys

from keras_actrec.cli.extraction import clip_maps
from keras_actrec.cli.main import script

if __name__ == "__main__":
    sys.exit(script(clip_maps))
