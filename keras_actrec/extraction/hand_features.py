"""Data set + pose cache → hand-feature cache: crops around the hands through an image network.

Source: "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", section 4 (glimpse sensor: Inception V3, last
layer before the classifier) and section 5 (crops of 50 x 50 pixels for NTU RGB+D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.devices import has_gpu
from keras_actrec.backbones.folded_norms import fold_batch_norms
from keras_actrec.backbones.sensors import FEATURE_SIZE, SensorConfig, build_sensor, weights_checksum
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, HAND_FEATURES, CacheIndex, CacheOptions, plan_cache
from keras_actrec.cache.writer import FeatureShardWriter
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.extraction.crop_stream import (
    HANDS,
    ClipBegin,
    ClipCrops,
    ClipEnd,
    CropBatch,
    CropOptions,
    CropTask,
    crop_batches,
)
from keras_actrec.extraction.poses import clips_with_poses, dataset_layout
from keras_actrec.extraction.run import ExtractionReport, check_clip_seconds, run_extraction
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers, available_cores, in_this_process, limit_threads, share_gpus
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video
from keras_actrec.video.time_limit import CLIP_SECONDS

BATCH_SIZE = 64
_STAGE = "hand_features"
_SENSOR = SensorConfig()


def hand_feature_options(
    poses: CacheOptions,
    sensor: SensorConfig,
    checksum: str,
    *,
    crop_size: int = 50,
    pixel_size: tuple[int, int] | None = None,
) -> CacheOptions:
    """Options of the feature cache that `extract_hand_features` writes with these arguments; what a reader expects.

    Args:
        poses: options of the pose cache that the hands come from.
        sensor: the image network.
        checksum: of its weights (`weights_checksum`).
        crop_size, pixel_size: as for `extract_hand_features`.
    """
    options = {
        "crop_size": crop_size,
        "pixel_size": pixel_size,
        "sensor": sensor.computation,
        "cleaning": poses.options["cleaning"],
    }
    if "source_layout" in poses.options:
        options["source_layout"] = poses.options["source_layout"]
    return CacheOptions(HAND_FEATURES, poses.dataset, poses.layout, options, checksum)


def extract_hand_features(
    dataset: ActionDataset,
    pose_directory: str | Path,
    directory: str | Path,
    *,
    sensor: SensorConfig = _SENSOR,
    crop_size: int = 50,
    pixel_size: tuple[int, int] | None = None,
    batch_size: int = BATCH_SIZE,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
    clip_seconds: float | None = CLIP_SECONDS,
) -> ExtractionReport:
    """Writes the hand-feature cache of a data set, or goes on with one that was begun.

    Args:
        dataset: gives the records with their videos.
        pose_directory: the pose cache of the same data set; where the hands are, in pixels.
        directory: folder of the cache to write.
        sensor: the image network.
        crop_size: side of the square around a hand, in pixels of the video (paper: 50 for NTU, 100 for MSR and SBU).
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        batch_size: crops per forward pass.
        workers, progress, share, retry_left_out: see `run_extraction`. Each worker has a network of its own.
        clips_per_shard: of a new cache; what a killed run can lose.
        clip_seconds: that decoding a clip may take; a clip over it is left out. None sets no limit.

    Returns:
        The report. A clip whose video is absent, does not decode or is shorter than its skeleton is left out.

    Raises:
        CacheError: the pose cache is absent, incomplete, of another data set or of a joint layout that is not known here; and
            as for `run_extraction`.
        WeightsError: the network's weights cannot be had or give values that are not finite.
        ConfigError, DiskFullError: see `run_extraction`.
    """
    directory = Path(directory)
    _check_sizes(crop_size, pixel_size, batch_size)
    check_clip_seconds(clip_seconds)
    ids, pose_options = clips_with_poses(dataset, pose_directory)
    hands = _cached_layout(dataset, pose_options, pose_directory).hands
    if not in_this_process(workers):
        share_gpus()
    model = build_sensor(sensor)
    checksum = weights_checksum(model)
    options = hand_feature_options(pose_options, sensor, checksum, crop_size=crop_size, pixel_size=pixel_size)
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = HandFeatureJob(
        directory=directory,
        index=index,
        pose_directory=Path(pose_directory),
        videos={record.clip_id: record.video for record in dataset.records},
        hands=hands,
        sensor=sensor,
        crops=CropOptions(crop_size, sensor.image_size, pixel_size, clip_seconds),
        batch_size=batch_size,
        model=model if in_this_process(workers) else None,
        weights=None if in_this_process(workers) else tuple(model.get_weights()),
    )
    return run_extraction(
        job,
        directory,
        index,
        ids,
        title="hand features",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


def clip_hand_features(
    sensor: keras.Model,
    video: str | Video,
    sequence: SkeletonSequence,
    *,
    crop_size: int = 50,
    pixel_size: tuple[int, int] | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Hand features of one clip, without a cache.

    Args:
        sensor: from `build_sensor`.
        video: the file, or another kind of `Video`.
        sequence: cleaned, two people, with pixels (T, 2, J, 2).
        crop_size, pixel_size, batch_size: as for `extract_hand_features`.

    Returns:
        float16 (T, 4, 2048), zeros where a hand is absent.

    Raises:
        VideoError: the video is absent, does not decode or is shorter than the skeleton.
        ConfigError: the sequence has no pixels.
    """
    centers = known_hand_centers(sequence, video)
    options = CropOptions(crop_size, sensor.input_shape[1], pixel_size)
    return features_of_hands(batched(sensor, batch_size), video, centers, options, batch_size=batch_size)


def known_hand_centers(sequence: SkeletonSequence, video: str | Video) -> np.ndarray:
    """Centres of the hands (T, 4, 2), see `hand_centers`. Raises ConfigError where the sequence has no pixels."""
    if sequence.pixels is None:
        raise ConfigError(
            "hand crops need the joints in pixels of the video", file=str(video), fix="use a skeleton file that has them"
        )
    return hand_centers(sequence.pixels, sequence.layout.hands)


def features_of_hands(
    network: Callable[[np.ndarray], object],
    video: str | Video,
    centers: np.ndarray,
    options: CropOptions,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Features of the squares around given places of a video.

    Args:
        network: from `batched`, for this batch size.
        video: the file, or another kind of `Video`.
        centers: float (T, 4, 2), pixels (x, y); NaN where there is no hand.
        options: how crops are cut.
        batch_size: crops per forward pass.

    Returns:
        float16 (T, 4, 2048), zeros where there is no hand.

    Raises:
        VideoError: the video is absent, does not decode or ends before frame T.
    """
    features = np.zeros((len(centers), HANDS, FEATURE_SIZE), np.float16)
    video = Path(video) if isinstance(video, str) else video
    batches = crop_batches([CropTask(str(video), video, centers)], options, batch_size=batch_size)
    for event, values in _run_network(batches, network):
        if isinstance(event, ClipEnd) and event.error is not None:
            raise event.error
        if isinstance(event, ClipCrops):
            features[event.frames, event.hands] = values
    return features


def hand_centers(pixels: np.ndarray, hands: tuple[int, int]) -> np.ndarray:
    """Pixels (T, 2, J, 2) → centres of the hands (T, 4, 2): person 1 left, person 1 right, person 2 left, person 2 right."""
    return pixels[:, :, list(hands)].reshape(len(pixels), HANDS, 2)


def batched(sensor: keras.Model, batch_size: int) -> Callable[[np.ndarray], object]:
    """The sensor as a graph function of one fixed shape: uint8 (batch_size, S, S, 3) → float16 tensor (batch_size, 2048).

    Its batch norms are folded into its convolutions; the features differ by rounding alone.
    """
    import tensorflow as tf  # here, so that worker processes of the pose cache start without it

    sensor = fold_batch_norms(sensor)

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *sensor.input_shape[1:]), tf.uint8)], autograph=False)
    def run(images):
        return tf.cast(sensor(images, training=False), tf.float16)

    return run


def _run_network(
    batches: Iterator[CropBatch], network: Callable[[np.ndarray], object]
) -> Iterator[tuple[ClipBegin | ClipCrops | ClipEnd, np.ndarray | None]]:
    """Events in order, crops with their features (m, 2048) float16.

    A batch is handed on while the next one runs: on a GPU the call returns before the result is there.
    """
    previous = None
    for batch in batches:
        running = (batch, network(batch.images) if batch.count else None)
        if previous is not None:
            yield from _with_features(*previous)
        previous = running
    if previous is not None:
        yield from _with_features(*previous)


def _with_features(batch: CropBatch, result: object) -> Iterator[tuple[ClipBegin | ClipCrops | ClipEnd, np.ndarray | None]]:
    features = None if result is None else np.asarray(result)[: batch.count]
    if features is not None and not np.isfinite(features).all():
        raise WeightsError(
            "the network gives values that are not finite or exceed float16",
            fix="check the weights file, or use --dtype float32",
        )
    for event in batch.events:
        crops = isinstance(event, ClipCrops)
        yield event, features[event.start : event.start + len(event.hands)] if crops else None


@dataclass(frozen=True)
class HandFeatureJob:
    """Writes shards of the hand-feature cache (a `ShardJob`).

    Attributes:
        directory, index: the cache and its plan.
        pose_directory: the pose cache.
        videos: clip id → file, None where a clip has none.
        hands: left and right hand in the layout of the pose cache.
        sensor: the network.
        crops: how crops are cut.
        batch_size: crops per forward pass.
        model: the network itself where the process that built it does the work.
        weights: its weights where others do, so that all have the same and none has to download or draw them.
    """

    directory: Path
    index: CacheIndex
    pose_directory: Path
    videos: Mapping[str, Path | None]
    hands: tuple[int, int]
    sensor: SensorConfig
    crops: CropOptions
    batch_size: int
    model: keras.Model | None = None
    weights: tuple[np.ndarray, ...] | None = None

    def reads(self) -> tuple[Path, ...]:
        return (self.pose_directory, *one_there(self.videos.values()))

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            limit_threads(threads)
        model = self.model or build_sensor(self.sensor, weights=self.weights)
        return self.writer(batched(model, self.batch_size), threads)

    def writer(self, network: Callable[[np.ndarray], object], threads: int | None) -> Callable[[int, Tick], ShardResult]:
        """The function that writes one shard with a network as `batched` makes it; arguments else as for `open`."""
        poses = PoseCache(self.pose_directory)
        cores = threads or available_cores()
        # Where the network computes on the cores as well, more threads would only take them from it.
        decode_threads = cores if has_gpu() else max(1, cores // 2)
        return lambda shard, tick: self._write(network, poses, decode_threads, shard, tick)

    def _write(self, network: Callable, poses: PoseCache, decode_threads: int, shard: int, tick: Tick) -> ShardResult:
        clips = self.index.shards[shard]
        tasks = [CropTask(c, self.videos[c], hand_centers(poses.pixels(c), self.hands)) for c in clips]
        batches = crop_batches(tasks, self.crops, batch_size=self.batch_size, decode_threads=decode_threads)
        left_out, notes, crops = [], [], 0
        with FeatureShardWriter(self.directory, self.index, shard) as writer:
            for event, features in _run_network(batches, network):
                if isinstance(event, ClipBegin):
                    writer.begin_clip(event.clip_id, event.length)
                elif isinstance(event, ClipCrops):
                    writer.write(event.frames, event.hands, features)
                    crops += len(features)
                elif event.error is None:
                    writer.end_clip()
                    notes += event.notes
                    tick(1)
                else:
                    left_out.append(LeftOut(event.clip_id, _STAGE, str(event.error), event.error.file or ""))
                    writer.discard_clip(left_out[-1])
                    tick(1)
            writer.finish()
        return ShardResult(shard, len(clips) - len(left_out), tuple(left_out), crops, tuple(notes))


def _check_sizes(crop_size: int, pixel_size: tuple[int, int] | None, batch_size: int) -> None:
    for name, value in (("crop_size", crop_size), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be positive", found=value)
    if pixel_size is not None and (len(pixel_size) != 2 or min(pixel_size) < 1):
        raise ConfigError("pixel_size is (width, height)", found=pixel_size)


def _cached_layout(dataset: ActionDataset, poses: CacheOptions, pose_directory: str | Path) -> SkeletonLayout:
    """The layout of the joints in the pose cache, whose hands the crops are cut around: it need not be the data set's."""
    known = {**LAYOUTS, dataset_layout(dataset).name: dataset_layout(dataset)}
    if poses.layout not in known:
        raise CacheError(
            "the joint layout of the pose cache is not known, and so not which joints are hands",
            file=pose_directory,
            found=repr(poses.layout),
            expected=f"one of {', '.join(known)}",
            fix="extract the poses into a layout of keras_actrec.skeletons.layouts",
        )
    return known[poses.layout]
