"""Whole frames or their cached maps, with joints in the picture: the batches that Glimpse Clouds trains and tests on.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), sections 5
(poses are targets of training) and 7 (sub-sequences and crops); `video/rgb_clips.py` says what follows the published code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_actrec.cache.glimpse_maps import GlimpseMapCache
from keras_actrec.cache.person_clips import PersonClips, joints_in_images
from keras_actrec.cache.reader import PoseCache
from keras_actrec.errors import CacheError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY, ClipSource
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.rgb_clips import RGBClipConfig, crop_joints, crop_views, test_uniforms

PEOPLE = 2


class RGBClipSource(ClipSource):
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
            poses, labels, ("clip",) if poses is None else ("clip", "joints"),
            beside=clips.lengths, beside_holds="clips", joints_in_memory=joints_in_memory,
        )  # fmt: skip
        if poses is not None:
            self._check_options([("layout", poses.options.layout, layout.name)])
        self.config, self.layout, self._clips = config, layout, clips

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: clip (T, S, S, 3), joints (T, 2, J, 2)."""
        frames, size = self.config.frames, self.config.image_size
        shapes = {"clip": (frames, size, size, 3), "joints": (frames, PEOPLE, len(self.layout), 2)}
        return {name: shapes[name] for name in self.inputs}

    @property
    def draws(self) -> int:
        """Uniform random numbers that a training row takes: T for the frames, 2 for the place of the crop."""
        return self.config.draws

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its views."""
        return self.config.views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one row of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, T + 2) in [0, 1): those of the frames, then x and y of the crop.

        Returns:
            {"clip": float32 (B, T, S, S, 3), "joints": float32 (B, T, 2, J, 2)}, labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold, or joints that cannot be placed in its images.
            ConfigError: not `draws` random numbers per clip.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        return self._batch(clip_ids, uniforms[:, None]), labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The views of each clip, one after the other, with R = `test_rows`.

        Returns:
            {"clip": float32 (B·R, T, S, S, 3), "joints": float32 (B·R, T, 2, J, 2)}, labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold, or joints that cannot be placed in its images.
        """
        labels = self._labels_of(clip_ids)
        table = test_uniforms(self.config)
        return self._batch(clip_ids, np.broadcast_to(table, (len(clip_ids), *table.shape))), np.repeat(labels, self.test_rows)

    def _input_fix(self) -> str:
        return "give a pose cache for joints; use GlimpseMapSource for a model that begins at the maps of its backbone"

    def _batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> dict[str, np.ndarray]:
        """uniforms: float64 (B, views, T + 2)."""
        batch = {}
        if "clip" in self.inputs:
            batch["clip"] = self._read_clips(clip_ids, uniforms)
        if "joints" in self.inputs:
            batch["joints"] = np.concatenate([
                crop_joints(self._clip_joints(clip), rows, self._clips.image_size, self.config)
                for clip, rows in zip(clip_ids, uniforms, strict=True)
            ])  # fmt: skip
        return batch

    def _read_clips(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> np.ndarray:
        views, shape = uniforms.shape[1], self.shapes["clip"]
        batch = np.empty((len(clip_ids), views, *shape), np.float32)  # scaled in place: a row is 5 MB
        for target, clip, rows in zip(batch, clip_ids, uniforms, strict=True):

            def read(frames, clip=clip):
                return self._clips.images(clip, frames)

            images = crop_views(read, self._length(clip), rows, self._clips.image_size, self.config)
            np.divide(images, np.float32(127.5), out=target)
            target -= 1.0
        return batch.reshape(len(clip_ids) * views, *shape)

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """Joints in the stored images, float32 (T, 2, J, 2)."""
        return joints_in_images(self._clips, clip_id, self._poses.pixels(clip_id))


class GlimpseMapSource(ClipSource):
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

    def __init__(self, maps: GlimpseMapCache, labels: Mapping[str, int], config: RGBClipConfig, *, layout: SkeletonLayout):
        super().__init__(None, labels, ("map", "context", "joints"), beside=maps.lengths, beside_holds="glimpse maps")
        made = maps.options.options["views"]
        wanted = {name: getattr(config, name) for name in ("frames", "image_size", "views", "seed")}
        for name, found, expected in [
            ("layout", maps.options.layout, layout.name),
            *((name, made[name], value) for name, value in wanted.items()),
        ]:
            if found != expected:
                raise CacheError(
                    f"the cache of glimpse maps was made with other options: {name}", file=maps.directory, found=found,
                    expected=expected, fix="use the options of the cache, or extract into another folder",
                )  # fmt: skip
        self.config, self.layout, self._maps = config, layout, maps

    draws = 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: map (T, h, w, c), context (T, c'), joints (T, P, J, 2)."""
        maps = self._maps
        shapes = {"map": maps.map_shape, "context": maps.context_shape, "joints": maps.joints_shape}
        return {name: shapes[name] for name in self.inputs}

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its test views."""
        return self._maps.test_views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one training view of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, 1) in [0, 1).

        Returns:
            {"map", "context", "joints"}: float32, see `inputs`; labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that the cache does not hold.
            ConfigError: not one random number per clip.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        return self._batch(
            clip_ids, self._maps.test_views + (uniforms[:, 0] * self._maps.training_views).astype(np.int64)
        ), labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The test views of each clip, one after the other, with R = `test_rows`.

        Returns:
            {"map", "context", "joints"}: float32 (B·R, …), labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that the cache does not hold.
        """
        labels = self._labels_of(clip_ids)
        views = np.tile(np.arange(self.test_rows), len(clip_ids))
        return self._batch(np.repeat(clip_ids, self.test_rows).tolist(), views), np.repeat(labels, self.test_rows)

    def _input_fix(self) -> str:
        return "use RGBClipSource for a model that holds its backbone"

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        read = {"map": self._maps.maps, "context": self._maps.context, "joints": self._maps.joints}
        return {name: read[name](clip_ids, views).astype(np.float32) for name in self.inputs}
