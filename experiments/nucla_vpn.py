"""Trains and tests VPN (video-pose network) on Northwestern-UCLA Multiview Action 3D, and exports it.

    python experiments/nucla_vpn.py --data-root /data/nucla --backbone-weights i3d_rgb.weights.h5 --initial runs/ntu_rgbd_vpn

DATA_ROOT holds view_1, view_2 and view_3 with colour images. The paper starts from a network that was trained on NTU RGB+D:
--initial. Without a GPU take --train on_maps.
"""

import sys

from keras_actrec.recipes.vpn.script import main

if __name__ == "__main__":
    sys.exit(main("nucla", __doc__))
