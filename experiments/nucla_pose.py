"""Trains and tests the pose stream on Northwestern-UCLA, trained on views 1 and 2, tested on view 3.

    python experiments/nucla_pose.py --data-root /data/nucla

DATA_ROOT holds the JSON files or the official folders view_1 to view_3.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("nucla", __doc__))
