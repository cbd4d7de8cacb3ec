"""Trains and tests the pose stream on NTU RGB+D.

    python experiments/ntu_pose.py --data-root /data/ntu --protocol cross_view

DATA_ROOT holds the *.skeleton files; videos are not needed. For pose and RGB together see ntu_pose_rgb.py.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("ntu_rgbd", __doc__))
