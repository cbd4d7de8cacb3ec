"""Trains and tests the pose stream on JHMDB with its annotated joints, over its three splits.

    python experiments/jhmdb_pose.py --data-root /data/jhmdb

DATA_ROOT holds joint_positions/ and splits/.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("jhmdb", __doc__))
