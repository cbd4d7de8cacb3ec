"""Trains and tests the pose stream on Penn Action with its annotated 2-D joints.

    python experiments/penn_pose.py --data-root /data/Penn_Action

DATA_ROOT holds labels/*.mat. The 13 joints are retargeted to 15 with a neck and a middle of the spine.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("penn_action", __doc__))
