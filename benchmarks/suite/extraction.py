"""Does the rest hide behind the network? Rate of hand-feature extraction against that of its bare network; bfloat16."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.decode import CROP, HEIGHT, IMAGE, WIDTH, write_camera_video
from suite.figures import Figure, Must, Settings, in_turns, median_figure, rate_figure, ratio_figure
from suite.skeleton_parsing import clip_names

SENSOR = "inception_v3"
AGAINST_BARE, BFLOAT16, COSINE = Must(">=", 0.9), Must(">=", 1.4), Must(">=", 0.999)
_IMAGENET = Path("~/.keras/models/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5")


@dataclass(frozen=True)
class Work:
    """How much is extracted in a repetition: a shard of `clips` clips, two hands in every frame. No batch is padded."""

    clips: int
    frames: int
    batch_size: int
    repetitions: int

    @property
    def crops(self) -> int:
        return 2 * self.clips * self.frames


FULL, QUICK = Work(4, 64, 64, 3), Work(1, 32, 16, 3)


@dataclass(frozen=True)
class Extraction:
    """A network, and the extraction with it.

    Attributes:
        bare: the network on the crops of a shard, held in memory, in the batches of the extraction.
        whole: writes the next shard: decodes, crops, resizes, computes, stores.
        features: float32 (n, 2048) of the crops.
        start: seconds until the network was ready, its weights at hand.
    """

    bare: Callable[[], None]
    whole: Callable[[], None]
    features: np.ndarray
    start: float


def measure(settings: Settings) -> list[Figure]:
    """Crops per second of the bare network and of the whole extraction, in one process and in turns.

    Videos of 1920x1080, MPEG-4 as in NTU RGB+D, Inception V3 at 299 pixels, with the weights of ImageNet where Keras has them
    already, else random ones. The extraction writes one shard after the other, as a long run does: building the network, which
    it does once, is a figure of its own. bfloat16 is measured where the processor computes in it, features against float32.
    """
    from keras_actrec.backbones.sensors import SensorConfig, build_sensor

    work = QUICK if settings.quick else FULL
    make_data(settings.folder, work)
    weights = "imagenet" if _IMAGENET.expanduser().exists() else "random"
    print(f"extraction: {weights} weights", file=sys.stderr)
    kept = settings.folder / "network.weights.h5"  # drawing random ones again would take longer than all else
    build_sensor(SensorConfig(SENSOR, weights, IMAGE)).save_weights(kept)
    dtypes = ("float32", "bfloat16") if computes_in_bfloat16() else ("float32",)
    if len(dtypes) == 1:
        print("extraction: bfloat16 is left out, this processor does not compute in it", file=sys.stderr)
    all_of = {dtype: prepare(settings.folder, work, SensorConfig(SENSOR, str(kept), IMAGE, dtype)) for dtype in dtypes}
    functions = {f"{dtype}, {name}": getattr(one, name) for dtype, one in all_of.items() for name in ("bare", "whole")}
    seconds = in_turns(functions, work.repetitions, warm_up=1)
    return figures_of(work, all_of, seconds)


def figures_of(work: Work, all_of: dict[str, Extraction], seconds: dict[str, list[float]]) -> list[Figure]:
    """What the seconds mean."""
    titles = {"bare": "bare network", "whole": "whole"}
    figures = []
    for dtype, one in all_of.items():
        for name, title in titles.items():
            figures.append(rate_figure(f"extraction: {dtype}, {title}", work.crops, seconds[f"{dtype}, {name}"], "crops/s"))
        must = AGAINST_BARE if dtype == "float32" else None
        ratio = ratio_figure(
            f"extraction: {dtype}, whole against bare", seconds[f"{dtype}, bare"], seconds[f"{dtype}, whole"], must
        )
        figures += [ratio, Figure(f"extraction: {dtype}, start", one.start, "s")]
    if "bfloat16" in all_of:
        ratio = ratio_figure(
            "extraction: bfloat16 against float32", seconds["float32, whole"], seconds["bfloat16, whole"], BFLOAT16
        )
        cosines = cosine(all_of["bfloat16"].features, all_of["float32"].features)
        figures += [
            ratio,
            median_figure("extraction: bfloat16, cosine of features", cosines.tolist(), "cosine"),
            Figure("extraction: bfloat16, least cosine of features", float(cosines.min()), "cosine", COSINE),
        ]
    return figures


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines (n,) between rows of two arrays (n, d)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def computes_in_bfloat16() -> bool:
    """Whether the processor has instructions for it (AVX-512, AMX, ARM), or there is a GPU."""
    from keras_actrec.backbones.devices import has_gpu

    if has_gpu():
        return True
    about = Path("/proc/cpuinfo")
    names = set(about.read_text().split()) if about.exists() else set()
    return not names.isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))


def make_data(folder: Path, work: Work) -> None:
    """`folder`/clips: NTU's files for a shard to warm up and one for each repetition, which share a video; `folder`/poses."""
    from keras_actrec.datasets.ntu import NTURGBD
    from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
    from keras_actrec.extraction.poses import extract_poses
    from keras_actrec.skeletons.layout import KINECT_V2
    from keras_actrec.skeletons.sequence import SkeletonSequence

    clips = folder / "clips"
    clips.mkdir()
    draw = np.random.default_rng(0)
    video = write_camera_video(folder / "video.avi", work.frames)
    for name, _ in zip(clip_names(), range((work.repetitions + 1) * work.clips), strict=False):
        joints = draw.normal((0, 0, 3), 0.3, (1, 1, 25, 3)) + np.cumsum(draw.normal(0, 0.02, (work.frames, 1, 25, 3)), axis=0)
        pixels = draw.uniform((100, 100), (WIDTH - 100, HEIGHT - 100), (work.frames, 1, 25, 2))
        sequence = SkeletonSequence(joints.astype(np.float32), KINECT_V2, pixels.astype(np.float32))
        write_ntu_skeleton(clips / f"{name}.skeleton", sequence)
        os.link(video, clips / f"{name}_rgb.avi")
    extract_poses(NTURGBD(clips), folder / "poses", progress=False)


def prepare(folder: Path, work: Work, sensor) -> Extraction:
    """Builds the network and begins a cache, of which the extraction will write a shard at each call."""
    from keras_actrec.backbones.sensors import build_sensor, weights_checksum
    from keras_actrec.cache.reader import PoseCache
    from keras_actrec.cache.schema import plan_cache
    from keras_actrec.datasets.ntu import NTURGBD
    from keras_actrec.extraction.crop_stream import CropOptions, CropTask, crop_batches
    from keras_actrec.extraction.hand_features import HandFeatureJob, batched, hand_centers, hand_feature_options
    from keras_actrec.extraction.poses import dataset_layout

    dataset, crops = NTURGBD(folder / "clips"), CropOptions(CROP, IMAGE)
    hands = dataset_layout(dataset).hands
    videos = {record.clip_id: record.video for record in dataset.records}
    with PoseCache(folder / "poses") as poses:
        options = poses.options
        tasks = [CropTask(clip, videos[clip], hand_centers(poses.pixels(clip), hands)) for clip in list(videos)[: work.clips]]
    batches = crop_batches(tasks, crops, batch_size=work.batch_size)
    images = [batch.images for batch in batches if batch.count]  # the last one only tells that the clip has ended
    start = time.perf_counter()
    model = build_sensor(sensor)
    network = batched(model, work.batch_size)
    np.asarray(network(images[0]))
    start = time.perf_counter() - start
    features = np.concatenate([np.asarray(network(batch)) for batch in images]).astype(np.float32)
    options = hand_feature_options(options, sensor, weights_checksum(model), crop_size=CROP)
    cache = folder / f"hands-{sensor.dtype}"
    index = plan_cache(cache, options, list(videos), clips_per_shard=work.clips)
    job = HandFeatureJob(
        directory=cache, index=index, pose_directory=folder / "poses", videos=videos, hands=hands, sensor=sensor, crops=crops,
        batch_size=work.batch_size, model=model,
    )  # fmt: skip
    write, shards = job.writer(network, None), iter(range(len(index.shards)))

    def bare() -> None:
        for batch in images:
            np.asarray(network(batch))

    def whole() -> None:
        result = write(next(shards), lambda clips: None)
        if result.crops != work.crops:
            raise RuntimeError(f"{result.crops} crops instead of {work.crops}: {result.left_out}")

    return Extraction(bare, whole, features, start)
