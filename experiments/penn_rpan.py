"""Trains and tests RPAN on Penn Action, and exports it. Joints guide the attention in training; the test needs none.

    python experiments/penn_rpan.py --data-root /data/Penn_Action
    python experiments/penn_rpan.py --data-root /data/Penn_Action --train on_maps                   # no GPU needed

DATA_ROOT holds frames and labels. TSN's CNN of the paper: see experiments/jhmdb_rpan.py --help.
"""

import sys

from keras_actrec.recipes.rpan.script import main

if __name__ == "__main__":
    sys.exit(main("penn_action", __doc__, preset="rpan_penn_action", size=(270, 480)))
