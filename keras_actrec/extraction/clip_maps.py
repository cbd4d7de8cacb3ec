"""Person clips → clip maps: a frozen video network run once over fixed views of every clip.

Source: "VPN: Learning Video-Pose Embedding for Activities of Daily Living", "Training": the input of VPN is the map of I3D's
endpoint Mixed_5c over 64 frames. With the maps on disk all other parts train without the network, and without a GPU; what
that gives up is training of the network itself and of draws of frames beyond the views.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone, map_shape
from keras_actrec.cache.clip_maps import ClipMapShardWriter
from keras_actrec.cache.person_clips import PersonClips, open_person_clips
from keras_actrec.cache.schema import CLIP_MAPS, CLIPS_PER_SHARD, CacheOptions, plan_cache
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.run import ExtractionReport, run_extraction
from keras_actrec.extraction.view_maps import BATCH_SIZE, Arrays, Loader, Network, PersonClipJob, check_positive, graph_network
from keras_actrec.extraction.workers import Workers, in_this_process, share_gpus
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, view_uniforms
from keras_actrec.video.view_images import view_images


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
    workers: Workers = 1,
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
    if not in_this_process(workers):
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
    ).with_network(model, workers)
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
    return graph_network(model, batch_size, lambda maps: (keras.ops.cast(maps, "float16"),))


@dataclass(frozen=True, kw_only=True)
class ClipMapJob(PersonClipJob):
    """Writes shards of the cache of clip maps.

    Attributes:
        backbone: the network.
        sampling: the views.
    """

    backbone: BackboneConfig
    sampling: ClipSamplingConfig

    stage = CLIP_MAPS

    def build(self, weights: Arrays | None) -> keras.Model:
        return build_backbone(self.backbone, weights=weights)

    def network(self, model: keras.Model) -> Network:
        return map_network(model, self.batch_size)

    def writer(self, shard: int, model: keras.Model) -> ClipMapShardWriter:
        return ClipMapShardWriter(self.directory, self.index, shard, map_shape(model))

    def loader(self, clips: PersonClips) -> Loader:
        def load(clip_id: str) -> Arrays:
            length = clips.lengths[clip_id]
            frames = np.stack([clip_frames(length, u, self.sampling) for u in view_uniforms(self.sampling.views)])
            return (view_images(lambda rows: clips.images(clip_id, rows), frames, self.backbone.image_size),)

        return load


def _check(backbone: BackboneConfig, sampling: ClipSamplingConfig, batch_size: int) -> None:
    check_positive(batch_size=batch_size)
    if backbone.frames != sampling.frames:
        raise ConfigError(
            "the network takes another number of frames than a view has",
            found=f"{sampling.frames} frames of a view",
            expected=f"{backbone.frames}, as the network",
        )
