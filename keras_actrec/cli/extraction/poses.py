"""`keras-actrec extract poses`: the pose cache of a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.datasets.catalogue import open_dataset
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.script import CONFIG_TITLE, add_dataset_arguments, add_run_arguments, run_options
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.pose_tensor import SCALES, PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig

HELP = """\
Writes the pose cache of a data set: cleaned joints, and the K test sub-sequences of every clip.

in:  the skeleton files of the data set (no network is run; for videos without skeletons see `keras-actrec poses`)
out: a folder of HDF5 files; clips that cannot be used are left out, counted and listed with the reason

Stop it whenever you like: the same command goes on with what is missing, and adds clips that are new in the data root.

examples:
  keras-actrec extract poses --data-root /data/ntu --cache /data/cache/poses --workers 8
  keras-actrec extract poses --dataset sbu --data-root /data/sbu --cache /data/cache/sbu

The defaults are those of experiments/ntu_pose_rgb.py. A pose script of experiments/ goes on with the cache in CACHE_DIR/poses
if it was made with --modality skeleton and the options of its preset; tuned has --order no_repeats --scale body as well, and
own clips whose layout has a middle of the spine need no --layout:

    data set                                       --preset paper                   --preset tuned
    ntu_rgbd, ntu_rgbd_120, msr_daily, sbu
    nucla                                                                           --people 1
    smarthome, smarthome_cross_view, penn_action   --layout jhmdb_15 --scale body   --layout jhmdb_15 --people 1
    jhmdb, sub_jhmdb                               --scale body                     --people 1
    own                                            --layout jhmdb_15 --scale body   --layout jhmdb_15
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_dataset_arguments(parser, default="ntu_rgbd")
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER", help="folder of the pose cache to write")
    modality = "both: a clip needs a skeleton and a video; skeleton: clips without a video count too (default: %(default)s)"
    parser.add_argument("--modality", choices=("both", "skeleton"), default="both", help=modality)

    config = parser.add_argument_group(CONFIG_TITLE).add_argument
    layouts = f"joint layout that bodies are mapped to: {', '.join(LAYOUTS)} (default: the data set's own)"
    config("--layout", choices=LAYOUTS, metavar="NAME", help=layouts)
    order = (
        "of the joints in a row of a pose tensor: a walk over the body that passes neighbours, as in the paper; each joint "
        "once; or shuffled (default: %(default)s)"
    )
    config("--order", default="topological", choices=("topological", "no_repeats", "random"), help=order)
    config("--order-seed", type=int, default=0, metavar="N", help="of --order random (default: %(default)s)")
    center = "origin of coordinates: the first person's root joint, or each person's own (default: %(default)s)"
    config("--center", default="first_person", choices=("first_person", "per_person"), help=center)
    config("--people", type=int, default=2, choices=(1, 2), help="in a pose tensor (default: %(default)s)")
    scale = "unit of coordinates: none leaves that of the joints, body makes it body sizes (default: %(default)s)"
    config("--scale", default="none", choices=SCALES, help=scale)
    sampling = "frames of a sub-sequence: one from each of equal parts of the clip, or neighbours (default: %(default)s)"
    config("--sampling", default="segments", choices=("segments", "contiguous"), help=sampling)
    config("--frames", type=int, default=20, metavar="N", help="of a sub-sequence (default: %(default)s)")
    config("--subsequences", type=int, default=10, metavar="K", help="for tests, of a clip (default: %(default)s)")
    config("--sampling-seed", type=int, default=0, metavar="N", help="of the test sub-sequences (default: %(default)s)")
    add_run_arguments(parser)


def tensor_from(args: argparse.Namespace) -> PoseTensorConfig:
    """The options of pose tensors that the arguments stand for."""
    return PoseTensorConfig(args.order, args.order_seed, args.center, args.people, args.scale)


def run(args: argparse.Namespace) -> None:
    """Writes the cache, and prints what was written and left out."""
    report = extract_poses(
        open_dataset(args.dataset, args.data_root, video=args.modality == "both"),
        args.cache,
        layout=LAYOUTS[args.layout] if args.layout else None,
        tensor=tensor_from(args),
        sampling=SamplingConfig(args.frames, args.sampling, args.subsequences, args.sampling_seed),
        **run_options(args),
    )
    print(report)
