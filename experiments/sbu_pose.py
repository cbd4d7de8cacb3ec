"""Trains and tests the pose stream on SBU Kinect Interaction, over its five folds.

    python experiments/sbu_pose.py --data-root /data/sbu

DATA_ROOT holds the folders sXXsYY. Accuracy is the mean of the folds.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("sbu", __doc__))
