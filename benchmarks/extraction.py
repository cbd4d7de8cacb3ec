"""Does the rest hide behind the network? Rate of the whole hand-feature extraction against that of the bare network.

    python benchmarks/extraction.py                              # makes 1920x1080 clips itself
    python benchmarks/extraction.py --data-root /data/ntu --clips 8 --sensor-weights imagenet

In one process and in turns, so that both see the same machine: A, the network alone on the crops of these clips, held in
memory, in the same batches; B, the whole extraction (decode, crop, resize, network, write). Prints JSON lines on stdout, a
table on stderr; exits with 1 if the median of B / A is below 0.85.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_actrec.scripts import exit_status

LEAST_RATIO = 0.85
WIDTH, HEIGHT = 1920, 1080


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-root", type=Path, help="folder of NTU RGB+D (default: clips are made)")
    add("--clips", type=int, default=3, help="clips to extract (default: %(default)s)")
    add("--frames", type=int, default=60, help="frames of a made clip (default: %(default)s)")
    add("--sensor", default="inception_v3", choices=("inception_v3", "resnet50"), help="network (default: %(default)s)")
    add("--sensor-weights", default="random", help="imagenet, random, or a file (default: %(default)s: as fast as any)")
    add("--image-size", type=int, default=299, help="default: %(default)s")
    add("--dtype", default="float32", choices=("float32", "bfloat16"), help="default: %(default)s")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--workers", type=int, default=1, help="processes of the extraction (default: %(default)s)")
    add("--repetitions", type=int, default=3, help="of A and of B (default: %(default)s)")
    return parser.parse_args()


def make_clips(root: Path, clips: int, frames: int) -> None:
    """NTU files of one walking point cloud each: 1920x1080 video with moving texture, hands inside the frame."""
    from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
    from keras_actrec.skeletons.layout import KINECT_V2
    from keras_actrec.skeletons.sequence import SkeletonSequence
    from keras_actrec.video.write import write_video

    for clip in range(clips):
        rng = np.random.default_rng(clip)
        name = f"S001C001P001R001A{clip + 1:03d}"
        joints = rng.uniform((-0.3, -0.9, 2.9), (0.3, 0.9, 3.1), (1, 1, 25, 3))
        joints = joints + np.cumsum(rng.normal(0, 0.02, (frames, 1, 25, 3)), axis=0)
        pixels = rng.uniform((100, 100), (WIDTH - 100, HEIGHT - 100), (frames, 1, 25, 2))
        sequence = SkeletonSequence(joints.astype(np.float32), KINECT_V2, pixels.astype(np.float32))
        write_ntu_skeleton(root / f"{name}.skeleton", sequence)
        texture = np.kron(rng.integers(40, 200, (34, 61, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        write_video(root / f"{name}_rgb.avi", (texture[i % 8 :][:HEIGHT, i % 32 :][:, :WIDTH] for i in range(frames)), 30)


class FirstClips:
    """The first clips of a data set."""

    def __init__(self, dataset, clips: int):
        self._dataset = dataset
        self.name, self.class_names, self.left_out = dataset.name, dataset.class_names, dataset.left_out
        self.records = dataset.records[:clips]

    def load_skeleton(self, record):
        return self._dataset.load_skeleton(record)

    def protocols(self):
        return self._dataset.protocols()


def bare_batches(dataset, poses: Path, args: argparse.Namespace) -> tuple[list[np.ndarray], int]:
    """The batches of the extraction, decoded beforehand; and how many crops they hold."""
    from keras_actrec.cache.reader import PoseCache
    from keras_actrec.extraction.crop_stream import CropOptions, CropTask, crop_batches
    from keras_actrec.extraction.hand_features import hand_centers
    from keras_actrec.extraction.poses import dataset_layout

    hands = dataset_layout(dataset).hands
    with PoseCache(poses) as cache:
        tasks = [CropTask(r.clip_id, r.video, hand_centers(cache.pixels(r.clip_id), hands)) for r in dataset.records]
    batches = list(crop_batches(tasks, CropOptions(50, args.image_size), batch_size=args.batch_size))
    return [batch.images for batch in batches if batch.count], sum(batch.count for batch in batches)


def measure(dataset, place: Path, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Crops per second of the bare network and of the whole extraction, in turns."""
    from keras_actrec.backbones.sensors import SensorConfig, build_sensor
    from keras_actrec.extraction.hand_features import batched, extract_hand_features
    from keras_actrec.extraction.poses import extract_poses

    extract_poses(dataset, place / "poses")
    images, crops = bare_batches(dataset, place / "poses", args)
    sensor = SensorConfig(args.sensor, args.sensor_weights, args.image_size, args.dtype)
    model = build_sensor(sensor)
    model.save_weights(place / "sensor.weights.h5")  # the extraction loads the same ones, without drawing them again
    sensor = SensorConfig(args.sensor, str(place / "sensor.weights.h5"), args.image_size, args.dtype)
    network = batched(model, args.batch_size)
    np.asarray(network(images[0]))  # builds the graph
    bare, whole = [], []
    for repetition in range(args.repetitions):
        start = time.perf_counter()
        for batch in images:
            np.asarray(network(batch))
        bare.append(crops / (time.perf_counter() - start))
        report = extract_hand_features(
            dataset,
            place / "poses",
            place / f"hands-{repetition}",
            sensor=sensor,
            batch_size=args.batch_size,
            workers=args.workers,
            clips_per_shard=max(1, len(dataset.records) // args.workers),
        )
        whole.append(report.crops_per_second)
        print(f"{repetition}: bare {bare[-1]:.1f}, extraction {whole[-1]:.1f} crops/s", file=sys.stderr)
    return bare, whole


def report(bare: list[float], whole: list[float]) -> bool:
    """Prints everything; True if the ratio is good enough."""
    ratios = [b / a for a, b in zip(bare, whole, strict=True)]
    ratio = statistics.median(ratios)
    for name, values, must in (("bare network", bare, None), ("whole extraction", whole, None), ("ratio", ratios, LEAST_RATIO)):
        middle, unit = statistics.median(values), "1" if name == "ratio" else "crops/s"
        spread = f"{min(values):.2f} .. {max(values):.2f}"
        print(f"{name:17} median {middle:8.2f} {unit:8} spread {spread}", file=sys.stderr)
        line = {"name": f"extraction: {name}", "value": middle, "unit": unit, "must": None if must is None else f">= {must}"}
        print(json.dumps(line | {"least": min(values), "most": max(values)}))
    return ratio >= LEAST_RATIO


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras_actrec.datasets.ntu import NTURGBD

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        root = args.data_root
        if root is None:
            root = place / "ntu"
            root.mkdir()
            make_clips(root, args.clips, args.frames)
        rates: list[list[float]] = []
        status = exit_status(lambda: rates.extend(measure(FirstClips(NTURGBD(root), args.clips), place, args)))
    return status or int(not report(*rates))


if __name__ == "__main__":
    sys.exit(main())
