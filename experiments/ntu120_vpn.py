"""Trains and tests VPN (video-pose network) on NTU RGB+D 120, and exports it.

    python experiments/ntu120_vpn.py --data-root /data/ntu120 --backbone-weights i3d_rgb.weights.h5 --protocol cross_setup

DATA_ROOT holds the *.skeleton and *_rgb.avi files. Without a GPU take --train on_maps.
"""

import sys

from keras_actrec.recipes.vpn.script import main

if __name__ == "__main__":
    sys.exit(main("ntu_rgbd_120", __doc__))
