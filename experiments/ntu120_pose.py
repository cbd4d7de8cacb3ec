"""Trains and tests the pose stream on NTU RGB+D 120.

    python experiments/ntu120_pose.py --data-root /data/ntu120 --protocol cross_setup

DATA_ROOT holds the *.skeleton files of both parts.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("ntu_rgbd_120", __doc__))
