"""Trains and tests VPN (video-pose network) on Toyota Smarthome, and exports it.

    python experiments/smarthome_vpn.py --data-root /data/smarthome --backbone-weights i3d_rgb.weights.h5
    python experiments/smarthome_vpn.py --data-root /data/smarthome --backbone-weights i3d_rgb.weights.h5 \\
        --dataset smarthome_cross_view --protocol cross_view2

DATA_ROOT holds the videos and the JSON skeletons. Without a GPU take --train on_maps.
"""

import sys

from keras_actrec.recipes.vpn.script import main

if __name__ == "__main__":
    sys.exit(main("smarthome", __doc__, datasets=("smarthome", "smarthome_cross_view")))
