"""Trains and tests RPAN on JHMDB or Sub-JHMDB, and exports it. Joints guide the attention in training; the test needs none.

    python experiments/jhmdb_rpan.py                                     # a synthetic data set: no files needed
    python experiments/jhmdb_rpan.py --data-root /data/jhmdb --dataset sub_jhmdb --train on_maps    # no GPU needed
    python experiments/jhmdb_rpan.py --data-root /data/jhmdb --dataset sub_jhmdb --backbone bn_inception \\
        --backbone-weights tsn_rgb.weights.h5 --flow-weights tsn_flow.weights.h5                    # the paper's CNN

DATA_ROOT holds ReCompress_Videos, splits or sub_splits, and joint_positions; without the last the attention learns from the
actions alone. One protocol a run: --protocol split1, split2, split3. Tables of several: experiments/rpan_tables.py.
"""

import sys

from keras_actrec.recipes.rpan.script import main

if __name__ == "__main__":
    sys.exit(main("jhmdb", __doc__, preset="rpan_sub_jhmdb", size=(240, 320), synthetic=True, datasets=("jhmdb", "sub_jhmdb")))
