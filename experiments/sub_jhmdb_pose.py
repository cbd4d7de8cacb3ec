"""Trains and tests the pose stream on Sub-JHMDB (full bodies only) with its annotated joints, over its three splits.

    python experiments/sub_jhmdb_pose.py --data-root /data/jhmdb

DATA_ROOT holds joint_positions/ and sub_splits/.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("sub_jhmdb", __doc__))
