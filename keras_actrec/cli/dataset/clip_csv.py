"""`keras-actrec datasets csv`: the clips of a public data set as a CSV in the form of one's own data."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from keras_actrec.datasets.about import ABOUT
from keras_actrec.datasets.catalogue import open_dataset, open_videos
from keras_actrec.datasets.clip_list import write_clip_list

HELP = """\
Writes the clips of a public data set as a CSV in the form of docs/own_data.md, which other commands read.

in:  the folder of the data set, as its authors publish it (check it first: `keras-actrec datasets check`)
out: a CSV with a row for each clip: clip, label, video, skeleton, a column of train or test for each protocol, subject, camera,
     frame_rate. The column skeleton is there for NTU RGB+D, whose files are read as they are, and with --poses.

examples:
  keras-actrec datasets csv jhmdb /data/jhmdb jhmdb.csv --protocol split1      # videos and labels: poses are estimated later
  keras-actrec datasets csv sbu /data/sbu sbu.csv --poses sbu_poses            # the data set's own poses, as files beside it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("dataset", choices=ABOUT, metavar="NAME", help=f"of the data set, one of {', '.join(ABOUT)}")
    add("data_root", type=Path, metavar="ROOT", help="folder of the data set, in any sub-folders")
    add(
        "csv",
        type=Path,
        metavar="OUT.csv",
        help="file to write; paths in it are relative to its folder where they lie below it",
    )
    protocol = "a protocol to write, several with the option repeated (default: all); a single one is called split in the CSV"
    add("--protocol", action="append", metavar="NAME", help=protocol)
    poses = "also write the data set's poses, cleaned, as a .npz file for each clip into this folder, and name them in the CSV"
    add("--poses", type=Path, metavar="FOLDER", help=poses)
    add("--progress", action=argparse.BooleanOptionalAction, help="progress bar of --poses (default: on a terminal)")


def run(args: argparse.Namespace) -> None:
    """Writes the CSV, and prints what is in it and what was left out."""
    if args.poses is None:
        dataset = open_videos(args.dataset, args.data_root)
    else:
        dataset = open_dataset(args.dataset, args.data_root, video=False)
    written = write_clip_list(dataset, args.csv, protocols=args.protocol, poses=args.poses, progress=args.progress)
    print(written)
    for reason, number in Counter(clip.reason for clip in written.left_out).most_common(10):
        print(f"left out: {number} clips, {reason}")
