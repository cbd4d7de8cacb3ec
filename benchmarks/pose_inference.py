"""How many clips per second does the pose stream classify on one CPU core?

    python benchmarks/pose_inference.py --dataset sbu --data-root /data/sbu
    python benchmarks/pose_inference.py --dataset ntu_rgbd --preset paper --frames 100      # joints are made

From the cleaned joints of a clip to its logits, the mean over the K = 10 sub-sequences, in turns, so that all see the same
machine: pose tensors, NumPy's part (retargeting included where the settings ask for it); the network alone, on batches of clips
and on one clip at a time; and the whole, likewise. Reading files and cleaning are not measured. The weights are random: speed
does not depend on them. Prints JSON lines on stdout, a table on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.scripts import exit_status

if TYPE_CHECKING:
    from keras_actrec.recipes.sta_hands.experiment import Experiment
    from keras_actrec.skeletons.layout import SkeletonLayout
    from keras_actrec.skeletons.sequence import SkeletonSequence

GENERATED: Mapping[str, tuple[str, int]] = {
    "ntu_rgbd": ("kinect_v2", 60),
    "ntu_rgbd_120": ("kinect_v2", 120),
    "msr_daily": ("kinect_v1", 16),
    "sbu": ("sbu_15", 8),
    "nucla": ("kinect_v1", 10),
    "smarthome": ("lcrnet_13", 31),
    "smarthome_cross_view": ("lcrnet_13", 19),
    "jhmdb": ("jhmdb_15", 21),
    "sub_jhmdb": ("jhmdb_15", 12),
    "penn_action": ("penn_13", 15),
}
"""Data set → joint layout and number of classes of the clips that are made without a data root."""


@dataclass(frozen=True, eq=False)
class Clips:
    """What is classified: cleaned skeletons of two people, without pixels; the layout that the model sees; the classes."""

    sequences: tuple[SkeletonSequence, ...]
    layout: SkeletonLayout
    classes: int


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="ntu_rgbd", help="whose clips (default: %(default)s)")
    add("--data-root", type=Path, help="folder of the data set; your own: the CSV file (default: joints are made)")
    add("--preset", choices=("paper", "tuned"), default="tuned", help="settings of the pose scripts (default: %(default)s)")
    add("--clips", type=int, default=32, help="clips per round, from all over the data set (default: %(default)s)")
    add("--frames", type=int, default=100, help="frames of a made clip (default: %(default)s)")
    add("--batch-size", type=int, default=16, help="clips per batch (default: %(default)s)")
    add("--repetitions", type=int, default=5, help="rounds (default: %(default)s)")
    add("--core", type=int, help="CPU core to run on (default: the first that this process may use)")
    args = parser.parse_args()
    for name in ("clips", "frames", "batch_size", "repetitions"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.data_root is None and args.dataset not in GENERATED:
        parser.error(f"--dataset {args.dataset} needs --data-root: its layout and classes are those of your files")
    return args


def use_one_core(core: int | None) -> str:
    """Binds this process to one core and TensorFlow to one thread, without GPUs; says where it runs."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if not hasattr(os, "sched_setaffinity"):
        return "any core, one TensorFlow thread"
    core = min(os.sched_getaffinity(0)) if core is None else core
    for thread in os.listdir("/proc/self/task"):  # Libraries start threads of their own when they are imported.
        os.sched_setaffinity(int(thread), {core})
    return f"core {core}"


def made_clips(name: str, experiment: Experiment, args: argparse.Namespace) -> Clips:
    """Bodies that wander about, in the layout of the data set."""
    from keras_actrec.recipes.sta_hands.pose import TASKS
    from keras_actrec.skeletons.layouts import LAYOUTS
    from keras_actrec.skeletons.sequence import SkeletonSequence

    layout, classes = GENERATED[name]
    source, rng = LAYOUTS[layout], np.random.default_rng(0)
    sequences = []
    for _ in range(args.clips):
        joints = rng.normal(0, 0.4, (1, 2, len(source), 3)) + rng.normal(0, 0.02, (args.frames, 2, len(source), 3)).cumsum(0)
        joints[:, TASKS[name].people :] = np.nan
        sequences.append(SkeletonSequence(joints.astype(np.float32), source))
    return Clips(tuple(sequences), LAYOUTS[experiment.layout or layout], classes)


def read_clips(dataset, experiment: Experiment, args: argparse.Namespace) -> Clips:
    """Clips from all over the data set, as its records are sorted by name; without those that cannot be read.

    Raises:
        DatasetError: none can be read.
    """
    from keras_actrec.skeletons.cleaning import clean
    from keras_actrec.skeletons.sequence import SkeletonSequence

    count = len(dataset.records)
    chosen = [dataset.records[i * count // args.clips] for i in range(args.clips)] if count > args.clips else dataset.records
    sequences, problems = [], []
    for record in chosen:
        try:
            sequence, _ = clean(dataset.load_skeleton(record), dataset.cleaning, file=record.skeleton)
        except SkeletonFormatError as error:
            problems.append(error)
            continue
        sequences.append(SkeletonSequence(sequence.joints, sequence.layout))  # nobody asks for pixels here
    if problems:
        print(f"{len(problems)} clips cannot be read, e.g. {problems[0]}", file=sys.stderr)
    if not sequences:
        raise DatasetError("no clip can be read", file=args.data_root, found=problems[0], fix="check the data root")
    repeated = tuple(islice(cycle(sequences), args.clips))  # as many as asked for, where the data set has fewer
    return Clips(repeated, experiment.joint_layout(dataset), len(dataset.class_names))


def tensors_of(sequence: SkeletonSequence, layout: SkeletonLayout, experiment: Experiment) -> np.ndarray:
    """Cleaned joints of a clip → the pose tensors of its test sub-sequences, float32 (K, F, W, 3)."""
    from keras_actrec.skeletons.pose_tensor import clip_pose_tensor
    from keras_actrec.skeletons.retarget import retarget
    from keras_actrec.skeletons.sampling import test_subsequences

    tensor = clip_pose_tensor(retarget(sequence, layout).joints, layout, experiment.tensor)
    return tensor[test_subsequences(sequence.length, experiment.sampling)]


def build_network(clips: Clips, experiment: Experiment) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Pose tensors of some clips (B · K, F, W, 3) → logits (B, classes), as a graph; and how many parameters it has."""
    import tensorflow as tf

    from keras_actrec.models.sta_hands import sta_hands

    config = experiment.model(clips.classes, clips.layout)
    model = sta_hands(config)

    @tf.function(input_signature=[tf.TensorSpec((None, config.frames, config.pose_width, 3), tf.float32)])
    def logits(pose):
        rows = model({"pose": pose}, training=False)["logits"]
        return tf.reduce_mean(tf.reshape(rows, (-1, experiment.sampling.subsequences, config.classes)), axis=1)

    return lambda pose: logits(pose).numpy(), model.count_params()


def measure(clips: Clips, experiment: Experiment, args: argparse.Namespace) -> dict[str, list[float]]:
    """What is measured → clips per second, one number per round."""
    network, parameters = build_network(clips, experiment)

    def tensors(sequence: SkeletonSequence) -> np.ndarray:
        return tensors_of(sequence, clips.layout, experiment)

    ready = [tensors(sequence) for sequence in clips.sequences]
    parts = [slice(start, start + args.batch_size) for start in range(0, len(ready), args.batch_size)]
    ready_batches = [np.concatenate(ready[part]) for part in parts]
    batches = f"batches of {args.batch_size}"
    jobs: dict[str, Callable[[], object]] = {
        "pose tensors": lambda: [tensors(sequence) for sequence in clips.sequences],
        f"network, {batches}": lambda: [network(pose) for pose in ready_batches],
        "network, clip by clip": lambda: [network(pose) for pose in ready],
        f"whole, {batches}": lambda: [network(np.concatenate([tensors(s) for s in clips.sequences[part]])) for part in parts],
        "whole, clip by clip": lambda: [network(tensors(sequence)) for sequence in clips.sequences],
    }
    frames = statistics.median(sequence.length for sequence in clips.sequences)
    print(
        f"{len(clips.sequences)} clips of {frames:g} frames (median), {clips.layout.name}, pose tensors {ready[0].shape}, "
        f"{parameters:,} parameters",
        file=sys.stderr,
    )
    for pose in (ready_batches[0], ready_batches[-1], ready[0]):  # builds the graph, and its plans for these sizes
        network(pose)
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(args.repetitions):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            rates[name].append(len(clips.sequences) / (time.perf_counter() - start))
    return rates


def report(rates: Mapping[str, list[float]]) -> None:
    """Prints everything."""
    for name, values in rates.items():
        middle, spread = statistics.median(values), f"{min(values):.1f} .. {max(values):.1f}"
        print(f"{name:24} median {middle:8.1f} clips/s   spread {spread}", file=sys.stderr)
        line = {"name": f"pose inference: {name}", "value": round(middle, 2), "unit": "clips/s"}
        print(json.dumps(line | {"least": round(min(values), 2), "most": round(max(values), 2)}))


def run(args: argparse.Namespace, place: str) -> None:
    from keras_actrec.recipes.sta_hands.pose import TASKS, pose_experiment, task_of

    dataset = None if args.data_root is None else open_dataset(args.dataset, args.data_root, video=False)
    task = TASKS[args.dataset] if dataset is None else task_of(args.dataset, dataset)
    experiment = pose_experiment(task, args.preset, Path())
    clips = made_clips(args.dataset, experiment, args) if dataset is None else read_clips(dataset, experiment, args)
    print(f"{args.dataset}, {args.preset} settings, {place}", file=sys.stderr)
    report(measure(clips, experiment, args))


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        place = use_one_core(args.core)
    except OSError as error:
        print(f"error: core {args.core} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    return exit_status(lambda: run(args, place))


if __name__ == "__main__":
    sys.exit(main())
