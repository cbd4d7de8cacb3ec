"""Counts the clips of an NTU RGB+D data root against the ones that the whole data set has."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from keras_actrec.datasets.ntu import MODALITIES, NTURGBD
from keras_actrec.errors import ActrecError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", help="folder with the *.skeleton and *_rgb.avi files, in any sub-folders")
    parser.add_argument("--modality", choices=MODALITIES, default="both", help="what a clip needs (default: %(default)s)")
    options = parser.parse_args()
    try:
        dataset = NTURGBD(options.data_root, modality=options.modality)
        table = dataset.counts()
    except ActrecError as error:
        print(error, file=sys.stderr)
        return 1
    print(table.to_string())
    for reason, clips in Counter(clip.reason for clip in dataset.left_out).most_common():
        print(f"left out: {clips} clips, {reason}")
    if dataset.ignored:
        print(f"ignored: {len(dataset.ignored)} files whose names are no clip names, e.g. {dataset.ignored[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
