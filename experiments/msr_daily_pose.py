"""Trains and tests the pose stream on MSR Daily Activity 3D, subjects 1, 3, 5, 7, 9 against the others.

    python experiments/msr_daily_pose.py --data-root /data/MSRDailyAct3D

DATA_ROOT holds the *_skeleton.txt files.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("msr_daily", __doc__))
