"""Trains and tests VPN (video-pose network) on NTU RGB+D, and exports it.

    python experiments/ntu_vpn.py                                  # a small synthetic data set in NTU's formats, a few minutes
    python experiments/ntu_vpn.py --data-root /data/ntu --backbone-weights i3d_rgb.weights.h5 [--train on_maps]

The real data: *.skeleton and *_rgb.avi below that folder. Everything is cached, so that the same command goes on where it was
stopped; with --resume the training does too. Without a GPU take --train on_maps.
"""

import sys

from keras_actrec.recipes.vpn.script import main

if __name__ == "__main__":
    sys.exit(main("ntu_rgbd", __doc__, synthetic=True))
