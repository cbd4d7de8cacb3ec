"""Person clips → clip maps: a frozen video network run once over fixed views of every clip.

Source: "VPN: Learning Video-Pose Embedding for Activities of Daily Living", "Training": the input of VPN is the map of I3D's
endpoint Mixed_5c over 64 frames. With the maps on disk all other parts train without the network, and without a GPU; what
that gives up is training of the network itself and of draws of frames beyond the views.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone, map_shape
from keras_actrec.cache.clip_maps import ClipMapShardWriter
from keras_actrec.cache.person_clips import PersonClips, open_person_clips
from keras_actrec.cache.schema import CLIP_MAPS, CLIPS_PER_SHARD, CacheIndex, CacheOptions, plan_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ActrecError, ConfigError, WeightsError
from keras_actrec.extraction.run import ExtractionReport, run_extraction
from keras_actrec.extraction.workers import ShardResult, Tick, available_cores, limit_threads, share_gpus
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, view_uniforms
from keras_actrec.video.view_images import view_images

BATCH_SIZE = 2
_STAGE = "clip_maps"
_MOST_CLIPS_AHEAD = 4

Network = Callable[[np.ndarray], object]
"""uint8 (batch size, F, S, S, 3) → float16 tensor (batch size, t, h, w, c)."""


def clip_map_options(
    clips: CacheOptions, backbone: BackboneConfig, sampling: ClipSamplingConfig, checksum: str
) -> CacheOptions:
    """Options of the cache that `extract_clip_maps` writes with these arguments; what a reader expects.

    Args:
        clips: options of the person clips that the maps are of.
        backbone: the network.
        sampling: frames, stride and views; poses are sampled when they are used.
        checksum: of the network's weights (`weights_checksum`).
    """
    options = {
        "backbone": {
            "name": backbone.name,
            "frames": backbone.frames,
            "image_size": backbone.image_size,
            "dtype": backbone.dtype,
        },
        "sampling": {"frames": sampling.frames, "stride": sampling.stride, "views": sampling.views},
        # Shards and folders hold the same images: either can take the other's place.
        "person_clips": {name: value for name, value in clips.options.items() if name != "storage"},
    }
    return CacheOptions(CLIP_MAPS, clips.dataset, clips.layout, options, checksum)


def extract_clip_maps(
    clips_directory: str | Path,
    directory: str | Path,
    *,
    backbone: BackboneConfig,
    sampling: ClipSamplingConfig,
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
) -> ExtractionReport:
    """Writes the cache of clip maps, or goes on with one that was begun.

    View i of a clip of T frames is `clip_frames(T, view_uniforms(views)[i], sampling)`, scaled from 0..255 to [-1, 1] and
    resized to the network's size.

    Args:
        clips_directory: person clips, an HDF5 cache or JPEG folders.
        directory: folder of the cache to write.
        backbone: the network.
        sampling: which frames a view has, and how many views a clip has.
        batch_size: views per forward pass.
        workers, progress, share, retry_left_out: see `run_extraction`. Each worker has a network of its own.
        clips_per_shard: of a new cache; what a killed run can lose.

    Returns:
        The report. A clip whose images do not read is left out.

    Raises:
        ConfigError: the network takes another number of frames than a view has, a batch size below 1; and see `run_extraction`.
        CacheError: the person clips are absent or incomplete, or the folder holds a cache with other options.
        WeightsError: the network's weights cannot be had or give values that are not finite or exceed float16.
        DiskFullError: no space left.
    """
    directory = Path(directory)
    _check(backbone, sampling, batch_size)
    with open_person_clips(clips_directory) as clips:
        ids, clip_options = list(clips.lengths), clips.options
    if workers > 1:
        share_gpus()
    model = build_backbone(backbone)
    options = clip_map_options(clip_options, backbone, sampling, weights_checksum(model))
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = ClipMapJob(
        directory=directory,
        index=index,
        clips_directory=Path(clips_directory),
        backbone=backbone,
        sampling=sampling,
        batch_size=batch_size,
        model=model if workers == 1 else None,
        weights=None if workers == 1 else tuple(model.get_weights()),
    )
    return run_extraction(
        job,
        directory,
        index,
        ids,
        title="clip maps",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


def map_network(model: keras.Model, batch_size: int) -> Network:
    """A backbone as a graph function of one fixed shape: RGB uint8 (batch_size, F, S, S, 3) → float16 (batch_size, t, h, w, c).

    Scaling to [-1, 1] is inside: a quarter of the bytes goes to the device.
    """
    import tensorflow as tf  # here, so that scripts and workers which only plan start without it

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.uint8)], autograph=False)
    def run(images):
        scaled = tf.cast(images, tf.float32) / 127.5 - 1.0
        return tf.cast(model(scaled, training=False), tf.float16)

    return run


@dataclass(frozen=True)
class ClipMapJob:
    """Writes shards of the cache of clip maps (a `ShardJob`).

    Attributes:
        directory, index: the cache and its plan.
        clips_directory: the person clips.
        backbone: the network.
        sampling: the views.
        batch_size: views per forward pass.
        model: the network itself where the process that built it does the work.
        weights: its weights where others do, so that all have the same and none has to read or draw them.
    """

    directory: Path
    index: CacheIndex
    clips_directory: Path
    backbone: BackboneConfig
    sampling: ClipSamplingConfig
    batch_size: int
    model: keras.Model | None = None
    weights: tuple[np.ndarray, ...] | None = None

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            limit_threads(threads)
        model = self.model or build_backbone(self.backbone, weights=self.weights)
        network = map_network(model, self.batch_size)
        clips = open_person_clips(self.clips_directory)
        readers = max(1, (threads or available_cores()) // 2)
        return lambda shard, tick: self._write(network, map_shape(model), clips, readers, shard, tick)

    def _write(
        self,
        network: Network,
        shape: tuple[int, int, int, int],
        clips: PersonClips,
        readers: int,
        shard: int,
        tick: Tick,
    ) -> ShardResult:
        ids = self.index.shards[shard]
        left_out: list[LeftOut] = []
        views = _ahead(lambda clip_id: self._views(clips, clip_id), ids, threads=readers)
        with ClipMapShardWriter(self.directory, self.index, shard, shape) as writer:
            for clip_id, result in _run_network(zip(ids, views, strict=True), network, self.batch_size):
                if isinstance(result, ActrecError):
                    left_out.append(LeftOut(clip_id, _STAGE, str(result), result.file or ""))
                    writer.leave_out(left_out[-1])
                else:
                    writer.add(clip_id, result, clips.lengths[clip_id])
                tick(1)
            writer.finish()
        return ShardResult(shard, len(ids) - len(left_out), tuple(left_out))

    def _views(self, clips: PersonClips, clip_id: str) -> np.ndarray | ActrecError:
        """The images of a clip's views, uint8 (views, F, S, S, 3), or why they do not read."""
        length = clips.lengths[clip_id]
        frames = np.stack([clip_frames(length, u, self.sampling) for u in view_uniforms(self.sampling.views)])
        try:
            return view_images(lambda rows: clips.images(clip_id, rows), frames, self.backbone.image_size)
        except ActrecError as error:
            return error


def _ahead(load: Callable[[str], object], ids: Sequence[str], *, threads: int) -> Iterator[object]:
    """`load(id)` of each id, in order; threads work ahead of the caller by a few ids, whatever the number of cores."""
    threads = min(threads, _MOST_CLIPS_AHEAD)
    pool = ThreadPoolExecutor(threads, "clips")
    try:
        waiting = iter(ids)
        jobs = deque(pool.submit(load, clip_id) for clip_id in islice(waiting, threads))
        while jobs:
            result = jobs.popleft().result()
            jobs.extend(pool.submit(load, clip_id) for clip_id in islice(waiting, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _run_network(
    clips: Iterable[tuple[str, np.ndarray | ActrecError]], network: Network, batch_size: int
) -> Iterator[tuple[str, np.ndarray | ActrecError]]:
    """(clip, its images or an error) → (clip, its maps float16 (views, t, h, w, c) or the error), in the same order.

    Batches run across clips. What a batch holds depends on the list of clips alone.
    """
    begun: deque[tuple[str, int | ActrecError]] = deque()  # clips whose maps are not all there, with their number

    def rows() -> Iterator[np.ndarray]:
        for clip_id, views in clips:
            error = isinstance(views, ActrecError)
            begun.append((clip_id, views if error else len(views)))
            if not error:
                yield from views

    maps: list[np.ndarray] = []
    for one in _maps(rows(), network, batch_size):
        while isinstance(begun[0][1], ActrecError):
            yield begun.popleft()
        maps.append(one)
        if len(maps) == begun[0][1]:
            yield begun.popleft()[0], np.stack(maps)
            maps = []
    yield from begun


def _maps(rows: Iterator[np.ndarray], network: Network, batch_size: int) -> Iterator[np.ndarray]:
    """Images uint8 (F, S, S, 3) → maps float16 (t, h, w, c), in batches of one size: the last one is padded.

    A batch is handed on while the next one runs: on a GPU the call returns before the result is there.
    """
    previous: tuple[object, int] | None = None
    while batch := list(islice(rows, batch_size)):
        running = network(np.stack(batch + batch[-1:] * (batch_size - len(batch)))), len(batch)
        if previous is not None:
            yield from _finite(*previous)
        previous = running
    if previous is not None:
        yield from _finite(*previous)


def _finite(result: object, count: int) -> np.ndarray:
    maps = np.asarray(result)[:count]
    if not np.isfinite(maps).all():
        raise WeightsError(
            "the network gives values that are not finite or exceed float16",
            fix="check the weights file, or use --dtype float32",
        )
    return maps


def _check(backbone: BackboneConfig, sampling: ClipSamplingConfig, batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError("batch_size must be positive", found=batch_size)
    if backbone.frames != sampling.frames:
        raise ConfigError(
            "the network takes another number of frames than a view has",
            found=f"{sampling.frames} frames of a view",
            expected=f"{backbone.frames}, as the network",
        )
