"""Pictures of clips, poses where there are any → frame cubes: RPAN's frozen network run once over fixed views of each clip.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), sections 3.1
and 4.1: RPAN learns on the convolutional cubes of a network that is trained before, of RGB and of optical flow alike. What the
cache gives up is draws of frames beyond the views.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.frame_networks import FrameBackboneConfig, build_frame_backbone
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.frame_cubes import FrameCubeShardWriter
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, FRAME_CUBES, CacheOptions, plan_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.extraction.run import ExtractionReport, run_extraction
from keras_actrec.extraction.shard_job import one_there
from keras_actrec.extraction.view_maps import Arrays, Loader, Network, ViewJob, check_positive, graph_network
from keras_actrec.extraction.workers import Workers, in_this_process, share_gpus
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.clip_pictures import Pictures, VideoPictures
from keras_actrec.video.frame_clips import FrameClipConfig, test_views, training_views, view_joints, view_pictures

TRAINING_VIEWS = 2
FRAMES_AT_ONCE = 16
_OF_WEIGHTS = ("weights", "seed")
"""Settings of the network that the checksum of its weights stands for."""
_OF_PICTURES = ("picture_size",)
"""Settings that network, views and pictures have in common: stored once."""


def frame_cube_options(
    stream: object,
    *,
    dataset: str,
    layout: SkeletonLayout,
    poses: CacheOptions | None,
    pixel_size: tuple[int, int] | None,
    backbone: FrameBackboneConfig,
    views: FrameClipConfig,
    training_views: int,
    checksum: str,
) -> CacheOptions:
    """Options of the cache that `extract_frame_cubes` writes with these arguments; what a reader expects.

    Args:
        stream: of the pictures (`Pictures.stream`).
        dataset, layout, pixel_size, views, training_views: as for `extract_frame_cubes`.
        poses: options of the pose cache; None without poses.
        backbone: the network; its weights are known by their checksum.
        checksum: of the network's weights (`weights_checksum`).
    """
    network = {name: value for name, value in asdict(backbone).items() if name not in _OF_WEIGHTS + _OF_PICTURES}
    chosen = {name: value for name, value in asdict(views).items() if name not in _OF_PICTURES}
    options = {
        "stream": stream,
        "picture_size": views.picture_size,
        "backbone": network,
        "views": {**chosen, "training": training_views},
        "poses": None,
    }
    if poses is not None:
        kept = {name: poses.options[name] for name in ("cleaning", "source_layout") if name in poses.options}
        options["poses"] = {**kept, "pixel_size": pixel_size}
    return CacheOptions(FRAME_CUBES, dataset, layout.name, options, checksum)


def extract_frame_cubes(
    pictures: Pictures,
    directory: str | Path,
    *,
    dataset: str,
    layout: SkeletonLayout,
    pose_directory: str | Path | None,
    pixel_size: tuple[int, int] | None = None,
    backbone: FrameBackboneConfig,
    views: FrameClipConfig,
    training_views: int = TRAINING_VIEWS,
    batch_size: int = FRAMES_AT_ONCE,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
) -> ExtractionReport:
    """Writes the cache of frame cubes, or goes on with one that was begun.

    Views 0 to `views.views` - 1 of a clip are those that `FrameClipSource` tests with. `training_views` further ones have
    starts of their own, drawn from the seed and the clip's name; every second one is mirrored, if `views.mirror` allows it.

    Args:
        pictures: of the clips; has to be pickled for several workers.
        directory: folder of the cache to write.
        dataset: its name, which the cache says.
        layout: what the joints are.
        pose_directory: the pose cache, whose clips are taken; None takes all clips of the pictures, and their joints are NaN.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        backbone: the network.
        views: frames, size, test views, mirroring and seed.
        training_views: per clip.
        batch_size: frames per forward pass.
        workers, progress, share, retry_left_out: see `run_extraction`. Each worker has a network of its own.
        clips_per_shard: of a new cache; what a killed run can lose.

    Returns:
        The report. A clip whose pictures do not read, or are not as many as its poses, is left out.

    Raises:
        ConfigError: pictures, network and views are of different sizes or channels, a batch size or number of training views
            below 1; and see `run_extraction`.
        CacheError: the poses are absent, incomplete, of another data set or layout, or have none of the clips; or the folder
            holds a cache with other options.
        WeightsError: the network's weights cannot be had or give values that are not finite or exceed float16.
        DiskFullError: no space left.
    """
    directory = Path(directory)
    _check(pictures, backbone, views, training_views, batch_size, pixel_size)
    ids, pose_options = list(pictures.lengths), None
    if pose_directory is not None:
        with PoseCache(pose_directory) as poses:
            ids, pose_options = _clips_of(pictures, poses, dataset, layout), poses.options
    if not in_this_process(workers):
        share_gpus()
    model = build_frame_backbone(backbone)
    options = frame_cube_options(
        pictures.stream,
        dataset=dataset,
        layout=layout,
        poses=pose_options,
        pixel_size=pixel_size,
        backbone=backbone,
        views=views,
        training_views=training_views,
        checksum=weights_checksum(model),
    )
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = FrameCubeJob(
        directory=directory,
        index=index,
        pictures=pictures,
        pose_directory=None if pose_directory is None else Path(pose_directory),
        layout=layout,
        pixel_size=pixel_size,
        backbone=backbone,
        views=views,
        training_views=training_views,
        batch_size=batch_size,
    ).with_network(model, workers)
    return run_extraction(
        job,
        directory,
        index,
        ids,
        title="frame cubes",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


def frame_network(model: keras.Model, batch_size: int) -> Network:
    """A network as a graph function of one fixed shape: uint8 (batch_size, H, W, C) → cubes and pooled vectors.

    Cubes are float16 (batch_size, K1, K2, d), pooled vectors float32 (batch_size, d'). Scaling to [-1, 1] is inside: a
    quarter of the bytes goes to the device.
    """

    def outputs(features):
        return keras.ops.cast(features["cube"], "float16"), keras.ops.cast(features["pooled"], "float32")

    return graph_network(model, batch_size, outputs)


@dataclass(frozen=True, kw_only=True)
class FrameCubeJob(ViewJob):
    """Writes shards of the cache of frame cubes. The network sees the frames of all views of a clip, `batch_size` at once.

    Attributes:
        pictures: of the clips.
        pose_directory: the pose cache; None without poses.
        layout, pixel_size: what the joints are, and the size of the frame that they refer to.
        backbone: the network.
        views, training_views: the views.
    """

    pictures: Pictures
    pose_directory: Path | None
    layout: SkeletonLayout
    pixel_size: tuple[int, int] | None
    backbone: FrameBackboneConfig
    views: FrameClipConfig
    training_views: int

    stage = FRAME_CUBES

    def reads(self) -> tuple[Path, ...]:
        read = self.pictures.videos.values() if isinstance(self.pictures, VideoPictures) else [self.pictures.directory]
        return one_there(read) + one_there([self.pose_directory])

    def build(self, weights: Arrays | None) -> keras.Model:
        return build_frame_backbone(self.backbone, weights=weights)

    def network(self, model: keras.Model) -> Network:
        return frame_network(model, self.batch_size)

    def writer(self, shard: int, model: keras.Model) -> FrameCubeShardWriter:
        return FrameCubeShardWriter(
            self.directory,
            self.index,
            shard,
            cube_shape=(self.views.frames, *model.output["cube"].shape[1:]),
            pooled=model.output["pooled"].shape[-1],
            joints=len(self.layout),
        )

    def open_clips(self) -> Pictures:
        return self.pictures

    def loader(self, clips: Pictures) -> Loader:
        poses = None if self.pose_directory is None else PoseCache(self.pose_directory)
        tests = test_views(self.views)

        def load(clip_id: str) -> Arrays:
            views = np.concatenate([tests, training_views(self.views, clip_id, self.training_views)])
            if poses is None:
                joints = np.full((len(views), self.views.frames, len(self.layout), 2), np.nan, np.float32)
            else:
                pixels = poses.pixels(clip_id)
                _check_length(clip_id, clips, len(pixels))
                joints = view_joints(pixels, self.pixel_size or clips.source_size(clip_id), views, self.layout, self.views)
            pictures = view_pictures(clips, clip_id, views, self.views)
            return pictures.reshape(-1, *pictures.shape[2:]), joints

        return load

    def arrays(self, result: Arrays) -> Arrays:
        cubes, pooled, joints = result
        return cubes.reshape(*joints.shape[:2], *cubes.shape[1:]), pooled.reshape(*joints.shape[:2], -1), joints


def _check(
    pictures: Pictures,
    backbone: FrameBackboneConfig,
    views: FrameClipConfig,
    training_views: int,
    batch_size: int,
    pixel_size: tuple[int, int] | None,
) -> None:
    check_positive(batch_size=batch_size, training_views=training_views)
    if pixel_size is not None and (len(pixel_size) != 2 or min(pixel_size) < 1):
        raise ConfigError("pixel_size is (width, height)", found=pixel_size)
    for name, found, expected in (
        ("pictures", tuple(pictures.picture_size), views.picture_size),
        ("network", tuple(backbone.picture_size), views.picture_size),
        ("network", backbone.channels, pictures.channels),
    ):
        if found != expected:
            what = "pictures (height, width)" if isinstance(found, tuple) else "channels"
            raise ConfigError(f"pictures, network and views do not fit: {what} of the {name}", found=found, expected=expected)


def _clips_of(pictures: Pictures, poses: PoseCache, dataset: str, layout: SkeletonLayout) -> list[str]:
    """Clips of the pictures that have poses. Raises CacheError where the poses do not fit."""
    for name, found, expected in (("data set", poses.options.dataset, dataset), ("layout", poses.options.layout, layout.name)):
        if found != expected:
            raise CacheError(f"the pose cache is of another {name}", file=poses.directory, found=found, expected=expected)
    known = poses.lengths.keys() | {entry.clip_id for entry in poses.left_out}
    lacking = [clip for clip in pictures.lengths if clip not in known]
    if lacking:
        raise CacheError(
            "the pose cache lacks clips", file=poses.directory,
            found=f"{len(lacking)} of {len(pictures.lengths)}, e.g. {lacking[0]}",
            fix="run preprocessing/extract_poses.py first",
        )  # fmt: skip
    return [clip for clip in pictures.lengths if clip in poses.lengths]


def _check_length(clip_id: str, pictures: Pictures, poses: int) -> None:
    if pictures.lengths[clip_id] != poses:
        raise CacheError(
            "the pictures are not those of the poses", place=f"clip {clip_id}", found=f"{pictures.lengths[clip_id]} frames",
            expected=f"{poses} frames, as its poses", fix="read as many frames as there are poses, or leave the clip out",
        )  # fmt: skip
