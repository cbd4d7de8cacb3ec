"""Trains and tests the pose stream on data of your own.

    python experiments/own_pose.py --data-root clips.csv

The CSV lists clips, labels, skeleton files and splits: see docs/own_data.md.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("own", __doc__))
