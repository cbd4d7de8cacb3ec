"""Trains and tests the pose stream on Toyota Smarthome, trained on cameras 1, 3, 4, 6 and 7, tested on camera 2.

    python experiments/smarthome_cross_view_pose.py --data-root /data/smarthome
    python experiments/smarthome_cross_view_pose.py --data-root /data/smarthome --protocol cross_view1   # trained on camera 1

DATA_ROOT holds the skeleton JSON files; of the 31 activities these protocols have 19. Its measure is the mean class accuracy.
"""

import sys

from keras_actrec.recipes.sta_hands.pose_script import main

if __name__ == "__main__":
    sys.exit(main("smarthome_cross_view", __doc__))
