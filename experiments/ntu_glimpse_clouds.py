"""Trains and tests Glimpse Clouds on NTU RGB+D, and exports it. Poses are needed for training only.

    python experiments/ntu_glimpse_clouds.py                        # a small synthetic data set in NTU's formats, a few minutes
    python experiments/ntu_glimpse_clouds.py --data-root /data/ntu  # both stages of the paper, on GPUs

The real data: *.skeleton and *_rgb.avi below that folder. Everything is cached, so that the same command goes on where it was
stopped; with --resume the training does too.

Stage 1 can be run by itself, and stage 2 start from it, on cached maps of its backbone without a GPU:

    python experiments/ntu_glimpse_clouds.py --data-root /data/ntu --preset global --workdir runs/ntu_global
    python experiments/ntu_glimpse_clouds.py --data-root /data/ntu --initial runs/ntu_global --train on_maps
"""

import sys

from keras_actrec.recipes.glimpse_clouds.script import main

if __name__ == "__main__":
    sys.exit(main("ntu_rgbd", __doc__, synthetic=True))
