"""Trains and tests Glimpse Clouds on Northwestern-UCLA Multiview Action 3D, and exports it. Poses are needed for training only.

    python experiments/nucla_glimpse_clouds.py --data-root /data/nucla --initial runs/ntu_rgbd_glimpse_clouds

DATA_ROOT holds view_1, view_2 and view_3 with colour images. The paper fine-tunes the network that was trained on NTU RGB+D:
--initial; without it both stages are trained. Without a GPU take --train on_maps.
"""

import sys

from keras_actrec.recipes.glimpse_clouds.script import main

if __name__ == "__main__":
    sys.exit(main("nucla", __doc__))
