"""Whole frames or their cached maps, with joints in the picture: the batches that Glimpse Clouds trains and tests on.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), sections 5
(poses are targets of training) and 7 (sub-sequences and crops); `video/rgb_clips.py` says what follows the published code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_actrec.cache.glimpse_maps import GlimpseMapCache
from keras_actrec.cache.person_clips import PersonClips, joints_in_images
from keras_actrec.cache.reader import PoseCache
from keras_actrec.errors import CacheError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY
from keras_actrec.pipelines.view_sources import CachedViewSource, DrawnViewSource
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.rgb_clips import RGBClipConfig, crop_joints, crop_views, test_uniforms

PEOPLE = 2


class RGBClipSource(DrawnViewSource):
    """Frames of clips, and where the joints are in them.

    A training row takes T + 2 random numbers: one frame of each of T equal segments, and the place of the crop, which all
    frames of the row share. Test rows are the `config.views` views of a clip, from one seeded table for all clips.

    "joints" are targets: nothing but losses uses them. A source without poses gives "clip" alone, as does `select(["clip"])`,
    which reads no pose.

    Args:
        clips: person clips, HDF5 or JPEG folders; whole frames (box "whole") in the paper. If they are as large as the crops,
            there is one place for a crop.
        poses: the pose cache; None where no joints are needed.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        config: frames, crops and test views.
        layout: what the joints are.
        joints_in_memory: bytes of joints kept in memory.

    Attributes:
        inputs: ("clip", "joints"), or ("clip",) without poses: float32 (B, T, S, S, 3) in [-1, 1]; float32 (B, T, 2, J, 2), x
            and y in [-1, 1] from border to border of the crop. A joint outside of it lies on its border; where a joint is
            absent both are NaN.
        clip_ids: the labelled clips that both caches hold, in the order of `labels`.

    Raises:
        CacheError: the stored images are smaller than the crops; the pose cache is of another layout, or the caches disagree
            about a clip's length.
    """

    config: RGBClipConfig

    def __init__(
        self,
        clips: PersonClips,
        poses: PoseCache | None,
        labels: Mapping[str, int],
        config: RGBClipConfig,
        *,
        layout: SkeletonLayout,
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        if clips.image_size < config.image_size:
            raise CacheError(
                "the stored images are smaller than the crops", file=clips.directory, found=clips.image_size,
                expected=f"at least {config.image_size}", fix="extract larger ones, or take a smaller image_size",
            )  # fmt: skip
        super().__init__(
            poses, labels, ("clip",) if poses is None else ("clip", "joints"), config, layout,
            beside=clips.lengths, beside_holds="clips", joints_in_memory=joints_in_memory,
        )  # fmt: skip
        self._clips = clips

    def _input_fix(self) -> str:
        return "give a pose cache for joints; use GlimpseMapSource for a model that begins at the maps of its backbone"

    def _row_shapes(self) -> dict[str, tuple[int, ...]]:
        frames, size = self.config.frames, self.config.image_size
        return {"clip": (frames, size, size, 3), "joints": (frames, PEOPLE, len(self.layout), 2)}

    def _test_views(self) -> np.ndarray:
        return test_uniforms(self.config)

    def _pictures_of(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        def read(frames: np.ndarray) -> np.ndarray:
            return self._clips.images(clip_id, frames)

        return crop_views(read, self._length(clip_id), views, self._clips.image_size, self.config)

    def _joints_in(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        return crop_joints(self._clip_joints(clip_id), views, self._clips.image_size, self.config)

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """Joints in the stored images, float32 (T, 2, J, 2)."""
        return joints_in_images(self._clips, clip_id, self._poses.pixels(clip_id))


class GlimpseMapSource(CachedViewSource):
    """Cached maps and context vectors of a frozen backbone, and where the joints are in the crops that they were made of.

    A training row takes one random number, which chooses one of the cached training views. Test rows are the test views.

    Args:
        maps: the cache of glimpse maps; its frames, crops, test views and seed have to be those of `config`.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        config: as for `RGBClipSource`.
        layout: what the joints are.

    Attributes:
        inputs: ("map", "context", "joints"): float32 (B, T, h, w, c), float32 (B, T, c'), float32 (B, T, P, J, 2) as for
            `RGBClipSource`.
        clip_ids: the labelled clips of the cache, in the order of `labels`.

    Raises:
        CacheError: the cache was made with other options.
    """

    _cache: GlimpseMapCache

    def __init__(self, maps: GlimpseMapCache, labels: Mapping[str, int], config: RGBClipConfig, *, layout: SkeletonLayout):
        made = maps.options.options["views"]
        super().__init__(
            maps, labels, ("map", "context", "joints"), config, layout, content="glimpse maps",
            options=[(name, made[name], getattr(config, name)) for name in ("frames", "image_size", "views", "seed")],
        )  # fmt: skip

    def _row_shapes(self) -> dict[str, tuple[int, ...]]:
        maps = self._cache
        return {"map": maps.map_shape, "context": maps.context_shape, "joints": maps.joints_shape}

    def _readers(self) -> dict[str, Callable[[Sequence[str], np.ndarray], np.ndarray]]:
        return {"map": self._cache.maps, "context": self._cache.context, "joints": self._cache.joints}

    def _input_fix(self) -> str:
        return "use RGBClipSource for a model that holds its backbone"
