"""Clips + poses → glimpse maps: the frozen backbone of Glimpse Clouds run once over fixed views of every clip.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), sections 3
(last map), 4.4 (the context vector, a mean over the penultimate map) and 7. The second stage of training can then do without
the network, and without a GPU; what that gives up is draws of frames and crops beyond the views.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.folded_resnet import fastest_for_inference
from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig, build_inflated_resnet
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.glimpse_maps import GlimpseMapShardWriter
from keras_actrec.cache.person_clips import PersonClips, joints_in_images, open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, GLIMPSE_MAPS, CacheOptions, plan_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.extraction.run import ExtractionReport, run_extraction
from keras_actrec.extraction.view_maps import BATCH_SIZE, Arrays, Loader, Network, PersonClipJob, check_positive, graph_network
from keras_actrec.extraction.workers import Workers, in_this_process, share_gpus
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.video.rgb_clips import RGBClipConfig, crop_joints, crop_views, test_uniforms, training_uniforms

TRAINING_VIEWS = 5
_OF_WEIGHTS = ("weights", "inflation", "seed")
"""Settings of the network that the checksum of its weights stands for."""
PEOPLE = 2


def glimpse_map_options(
    clips: CacheOptions,
    poses: CacheOptions,
    backbone: InflatedResNetConfig,
    views: RGBClipConfig,
    training_views: int,
    checksum: str,
) -> CacheOptions:
    """Options of the cache that `extract_glimpse_maps` writes with these arguments; what a reader expects.

    Args:
        clips, poses: options of the caches that the maps and the joints are of.
        backbone: the network; its weights are known by their checksum.
        views, training_views: as for `extract_glimpse_maps`.
        checksum: of the network's weights (`weights_checksum`).
    """
    options = {
        "backbone": {name: value for name, value in asdict(backbone).items() if name not in _OF_WEIGHTS},
        "views": {**asdict(views), "training": training_views},
        # Shards and folders hold the same images: either can take the other's place.
        "person_clips": {name: value for name, value in clips.options.items() if name != "storage"},
        "poses": {name: poses.options[name] for name in ("cleaning", "source_layout") if name in poses.options},
    }
    return CacheOptions(GLIMPSE_MAPS, poses.dataset, poses.layout, options, checksum)


def extract_glimpse_maps(
    clips_directory: str | Path,
    pose_directory: str | Path,
    directory: str | Path,
    *,
    backbone: InflatedResNetConfig,
    views: RGBClipConfig,
    training_views: int = TRAINING_VIEWS,
    batch_size: int = BATCH_SIZE,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
) -> ExtractionReport:
    """Writes the cache of glimpse maps, or goes on with one that was begun.

    Views 0 to `views.views` - 1 of a clip are those that `RGBClipSource` tests with. `training_views` further ones have frames
    and crops of their own, drawn from the seed and the clip's name.

    Args:
        clips_directory: person clips, an HDF5 cache or JPEG folders; whole frames in the paper.
        pose_directory: the pose cache of the same clips.
        directory: folder of the cache to write.
        backbone: the network.
        views: frames, crops, test views and seed.
        training_views: per clip.
        batch_size: views per forward pass.
        workers, progress, share, retry_left_out: see `run_extraction`. Each worker has a network of its own.
        clips_per_shard: of a new cache; what a killed run can lose.

    Returns:
        The report. A clip whose images do not read is left out.

    Raises:
        ConfigError: the network takes other clips than the views are, a batch size or number of training views below 1; and
            see `run_extraction`.
        CacheError: the clips or the poses are absent, incomplete or not of each other, the stored images are smaller than the
            crops, or the folder holds a cache with other options.
        WeightsError: the network's weights cannot be had or give values that are not finite or exceed float16.
        DiskFullError: no space left.
    """
    directory = Path(directory)
    _check(backbone, views, training_views, batch_size)
    with open_person_clips(clips_directory) as clips, PoseCache(pose_directory) as poses:
        _check_caches(clips, poses, views)
        ids, clip_options, pose_options = list(clips.lengths), clips.options, poses.options
    if not in_this_process(workers):
        share_gpus()
    model = build_inflated_resnet(backbone)
    options = glimpse_map_options(clip_options, pose_options, backbone, views, training_views, weights_checksum(model))
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = GlimpseMapJob(
        directory=directory,
        index=index,
        clips_directory=Path(clips_directory),
        pose_directory=Path(pose_directory),
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
        title="glimpse maps",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


def glimpse_network(model: keras.Model, batch_size: int) -> Network:
    """A backbone as a graph function of one fixed shape: RGB uint8 (batch_size, T, S, S, 3) → map and context.

    The map is float16 (batch_size, T, h, w, c); the context, the mean over places of the penultimate map, float32
    (batch_size, T, c'). Scaling to [-1, 1] is inside: a quarter of the bytes goes to the device.
    """

    def outputs(maps):
        return keras.ops.cast(maps["map"], "float16"), keras.ops.mean(keras.ops.cast(maps["pose_map"], "float32"), axis=(2, 3))

    return graph_network(model, batch_size, outputs)


@dataclass(frozen=True, kw_only=True)
class GlimpseMapJob(PersonClipJob):
    """Writes shards of the cache of glimpse maps.

    Attributes:
        pose_directory: the pose cache.
        backbone: the network.
        views, training_views: the views.
    """

    pose_directory: Path
    backbone: InflatedResNetConfig
    views: RGBClipConfig
    training_views: int

    stage = GLIMPSE_MAPS

    def reads(self) -> tuple[Path, ...]:
        return (self.clips_directory, self.pose_directory)

    def build(self, weights: Arrays | None) -> keras.Model:
        return build_inflated_resnet(self.backbone, weights=weights)

    def network(self, model: keras.Model) -> Network:
        return glimpse_network(fastest_for_inference(model), self.batch_size)

    def writer(self, shard: int, model: keras.Model) -> GlimpseMapShardWriter:
        return GlimpseMapShardWriter(
            self.directory,
            self.index,
            shard,
            map_shape=tuple(model.output["map"].shape[1:]),
            context=model.output["pose_map"].shape[-1],
            joints=(PEOPLE, len(LAYOUTS[self.index.options.layout])),
        )

    def loader(self, clips: PersonClips) -> Loader:
        poses, stored = PoseCache(self.pose_directory), clips.image_size
        tests = test_uniforms(self.views)

        def load(clip_id: str) -> Arrays:
            uniforms = np.concatenate([tests, training_uniforms(self.views, clip_id, self.training_views)])
            images = crop_views(
                lambda frames: clips.images(clip_id, frames), clips.lengths[clip_id], uniforms, stored, self.views
            )
            placed = joints_in_images(clips, clip_id, poses.pixels(clip_id))
            return images, crop_joints(placed, uniforms, stored, self.views)

        return load


def _check(backbone: InflatedResNetConfig, views: RGBClipConfig, training_views: int, batch_size: int) -> None:
    check_positive(batch_size=batch_size, training_views=training_views)
    found, expected = ((one.frames, one.image_size) for one in (views, backbone))
    if found != expected:
        raise ConfigError(
            "the network takes other clips than the views are",
            found=f"views of {found[0]} frames of {found[1]} pixels",
            expected=f"{expected[0]} frames of {expected[1]} pixels, as the network",
        )


def _check_caches(clips: PersonClips, poses: PoseCache, views: RGBClipConfig) -> None:
    """Raises CacheError where the two do not fit each other or the views."""
    if clips.image_size < views.image_size:
        raise CacheError(
            "the stored images are smaller than the crops", file=clips.directory, found=clips.image_size,
            expected=f"at least {views.image_size}", fix="extract larger ones, or take a smaller image_size",
        )  # fmt: skip
    if clips.options.dataset not in ("", poses.options.dataset):
        raise CacheError(
            "the pose cache is of another data set", file=poses.directory, found=poses.options.dataset,
            expected=clips.options.dataset,
        )  # fmt: skip
    for clip, length in clips.lengths.items():
        if poses.lengths.get(clip) != length:
            found = f"{poses.lengths[clip]} frames" if clip in poses.lengths else "no such clip"
            raise CacheError(
                "the pose cache does not fit the clips", file=poses.directory, place=f"clip {clip}", found=found,
                expected=f"{length} frames", fix="give the pose cache that the clips were extracted with",
            )  # fmt: skip
