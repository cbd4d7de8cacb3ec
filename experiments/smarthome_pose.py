"""Trains and tests the pose stream on Toyota Smarthome.

    python experiments/smarthome_pose.py --data-root /data/smarthome

DATA_ROOT holds the skeleton JSON files. Its measure is the mean class accuracy.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("smarthome", __doc__))
