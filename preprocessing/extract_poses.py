"""Writes the pose cache of a data set: cleaned joints, and the K test sub-sequences of every clip.

    python preprocessing/extract_poses.py --data-root /data/ntu --cache /data/cache/poses --workers 8
    python preprocessing/extract_poses.py --dataset sbu --data-root /data/sbu --cache /data/cache/sbu

Stop it whenever you like: the same command goes on with what is missing, and adds clips that are new in the data root.

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

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.script import add_run_arguments, run_options
from keras_actrec.scripts import exit_status
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.pose_tensor import SCALES, PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="ntu_rgbd", help="which (default: %(default)s)")
    add("--data-root", type=Path, required=True, help="folder of the data set; of your own: the CSV file")
    add("--cache", type=Path, required=True, help="folder of the pose cache")
    add(
        "--modality", choices=("both", "skeleton"), default="both", help="clips need a video too, or not (default: %(default)s)"
    )

    config = parser.add_argument_group("what the cache holds (another choice needs another folder)").add_argument
    config("--layout", choices=LAYOUTS, help="joint layout that bodies are retargeted to (default: the data set's own)")
    config(
        "--order", default="topological", choices=("topological", "no_repeats", "random"), help="joints (default: %(default)s)"
    )
    config("--order-seed", type=int, default=0, help="of --order random (default: %(default)s)")
    config("--center", default="first_person", choices=("first_person", "per_person"), help="origin (default: %(default)s)")
    config("--people", type=int, default=2, choices=(1, 2), help="in a pose tensor (default: %(default)s)")
    config("--scale", default="none", choices=SCALES, help="unit: that of the joints, or body sizes (default: %(default)s)")
    config("--sampling", default="segments", choices=("segments", "contiguous"), help="of frames (default: %(default)s)")
    config("--frames", type=int, default=20, help="frames of a sub-sequence (default: %(default)s)")
    config("--subsequences", type=int, default=10, help="test sub-sequences of a clip (default: %(default)s)")
    config("--sampling-seed", type=int, default=0, help="of the test sub-sequences (default: %(default)s)")
    add_run_arguments(parser)
    return parser.parse_args()


def tensor_from(args: argparse.Namespace) -> PoseTensorConfig:
    return PoseTensorConfig(args.order, args.order_seed, args.center, args.people, args.scale)


def run(args: argparse.Namespace) -> None:
    report = extract_poses(
        open_dataset(args.dataset, args.data_root, video=args.modality == "both"),
        args.cache,
        layout=LAYOUTS[args.layout] if args.layout else None,
        tensor=tensor_from(args),
        sampling=SamplingConfig(args.frames, args.sampling, args.subsequences, args.sampling_seed),
        **run_options(args),
    )
    print(report)


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
