"""Whole frames of clips → batches for RPAN: pictures and joints, or cached cubes of a frozen network and joints.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
frames at equal intervals from a random start in training, mirrored half of the time. Frames and joints of a row show the same
moments: both come from one row of random numbers. A model on cached cubes reads no video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY, ClipSource
from keras_actrec.pipelines.half_floats import to_float32
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.clip_pictures import Pictures
from keras_actrec.video.frame_clips import DRAWS, FrameClipConfig, test_views, view_joints, view_pictures


class FrameClipSource(ClipSource):
    """Pictures of frames, and where the first person's joints are in them.

    A training row takes two random numbers: the start within the first of T equal intervals, and whether the row is mirrored
    (from 1/2 on). Test rows are the `config.views` test views of a clip, which are not mirrored.

    "joints" are targets: nothing but losses uses them. `select(["clip"])` reads no pose.

    Args:
        pictures: RGB or optical flow, of the size of `config`.
        poses: the pose cache; None where there are none: then all joints are NaN, and lengths are those of `pictures`.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        config: frames, size of the pictures, mirroring and test views.
        layout: what the joints are.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        joints_in_memory: bytes of joints kept in memory.

    Attributes:
        inputs: ("clip", "joints"): float32 (B, T, H, W, C) in [-1, 1]; float32 (B, T, J, 2), x and y in [-1, 1] from border to
            border of the picture. Where a joint is absent or outside of the picture both are NaN.
        clip_ids: the labelled clips that have pictures and, where there are any, poses, in the order of `labels`.

    Raises:
        ConfigError: the pictures have another size than `config` says.
        CacheError: the pose cache is of another layout, or disagrees with the pictures about a clip's length.
        VideoError: frames are counted by decoding the video, and it does not read.
    """

    draws = DRAWS

    def __init__(
        self,
        pictures: Pictures,
        poses: PoseCache | None,
        labels: Mapping[str, int],
        config: FrameClipConfig,
        *,
        layout: SkeletonLayout,
        pixel_size: tuple[int, int] | None = None,
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        if tuple(pictures.picture_size) != config.picture_size:
            raise ConfigError(
                "the pictures have another size than the clips", found=f"pictures {tuple(pictures.picture_size)}",
                expected=f"picture_size {config.picture_size}, (height, width)",
                fix="use their size, or pictures of yours",
            )  # fmt: skip
        held = pictures.lengths
        lengths = {clip: held[clip] for clip in labels if clip in held and (poses is None or clip in poses.lengths)}
        super().__init__(
            poses, labels, ("clip", "joints"),
            beside=lengths, beside_holds="pictures", joints_in_memory=joints_in_memory,
        )  # fmt: skip
        if poses is not None:
            self._check_options([("layout", poses.options.layout, layout.name)])
        self.config, self.layout, self._pictures, self._pixel_size = config, layout, pictures, pixel_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: clip (T, H, W, C), joints (T, J, 2)."""
        config = self.config
        clip = (config.frames, *config.picture_size, self._pictures.channels)
        shapes = {"clip": clip, "joints": (config.frames, len(self.layout), 2)}
        return {name: shapes[name] for name in self.inputs}

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its views."""
        return self.config.views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one row of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, 2) in [0, 1): start, and whether mirrored.

        Returns:
            {"clip": float32 (B, T, H, W, C), "joints": float32 (B, T, J, 2)}, labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip without pictures or poses.
            ConfigError: not `draws` random numbers per clip.
            VideoError: a video does not read.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        return self._batch(clip_ids, uniforms[:, None]), labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The views of each clip, one after the other, with R = `test_rows`.

        Returns:
            {"clip": float32 (B·R, T, H, W, C), "joints": float32 (B·R, T, J, 2)}, labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip without pictures or poses.
            VideoError: a video does not read.
        """
        labels = self._labels_of(clip_ids)
        table = test_views(self.config)
        return self._batch(clip_ids, np.broadcast_to(table, (len(clip_ids), *table.shape))), np.repeat(labels, self.test_rows)

    def _input_fix(self) -> str:
        return "use FrameCubeSource for a model that begins at the cubes of its network"

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        """views: float64 (B, V, 2)."""
        batch = {}
        if "clip" in self.inputs:
            batch["clip"] = self._read_pictures(clip_ids, views)
        if "joints" in self.inputs:
            batch["joints"] = np.concatenate([self._place(*clip) for clip in zip(clip_ids, views, strict=True)])
        return batch

    def _read_pictures(self, clip_ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        shape = (self.config.frames, *self.config.picture_size, self._pictures.channels)
        batch = np.empty((*views.shape[:2], *shape), np.float32)  # scaled in place: a row is 7 MB
        for target, clip, rows in zip(batch, clip_ids, views, strict=True):
            self._length(clip)  # an unknown clip is a CacheError here, whatever the pictures are
            np.divide(view_pictures(self._pictures, clip, rows, self.config), np.float32(127.5), out=target)
            target -= 1.0
        return batch.reshape(-1, *shape)

    def _place(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        """Joints float32 (V, T, J, 2) of the views of a clip."""
        if self._poses is None:
            self._length(clip_id)
            return np.full((len(views), self.config.frames, len(self.layout), 2), np.nan, np.float32)
        size = self._pixel_size or self._pictures.source_size(clip_id)
        return view_joints(self._clip_joints(clip_id), size, views, self.layout, self.config)

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """Joints of the first person in pixels of the video, float32 (T, 1, J, 2)."""
        return self._poses.pixels(clip_id)[:, :1].copy()


class FrameCubeSource(ClipSource):
    """Cached cubes and pooled features of a frozen network, and where the joints are in the pictures that they were made of.

    A training row takes one random number, which chooses one of the cached training views. Test rows are the test views.

    Args:
        cubes: the cache of frame cubes; its views have to be those of `config`.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        config: as for `FrameClipSource`.
        layout: what the joints are.

    Attributes:
        inputs: ("cube", "pooled", "joints"): float32 (B, T, K1, K2, d), float32 (B, T, d'), float32 (B, T, J, 2) as for
            `FrameClipSource`. Only what is selected is read.
        clip_ids: the labelled clips of the cache, in the order of `labels`.

    Raises:
        CacheError: the cache was made with other options.
    """

    draws = 1

    def __init__(self, cubes: FrameCubeCache, labels: Mapping[str, int], config: FrameClipConfig, *, layout: SkeletonLayout):
        super().__init__(None, labels, ("cube", "pooled", "joints"), beside=cubes.lengths, beside_holds="frame cubes")
        options = cubes.options.options
        wanted = {name: getattr(config, name) for name in ("frames", "views", "mirror", "seed")}
        for name, found, expected in [
            ("layout", cubes.options.layout, layout.name),
            ("picture_size", tuple(options["picture_size"]), config.picture_size),
            *((name, options["views"][name], value) for name, value in wanted.items()),
        ]:
            if found != expected:
                raise CacheError(
                    f"the cache of frame cubes was made with other options: {name}", file=cubes.directory, found=found,
                    expected=expected, fix="use the options of the cache, or extract into another folder",
                )  # fmt: skip
        self.config, self.layout, self._cubes = config, layout, cubes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: cube (T, K1, K2, d), pooled (T, d'), joints (T, J, 2)."""
        cubes = self._cubes
        shapes = {"cube": cubes.cube_shape, "pooled": cubes.pooled_shape, "joints": cubes.joints_shape}
        return {name: shapes[name] for name in self.inputs}

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its test views."""
        return self._cubes.test_views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one training view of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, 1) in [0, 1).

        Returns:
            {"cube", "pooled", "joints"}: float32, see `inputs`; labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that the cache does not hold.
            ConfigError: not one random number per clip.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        chosen = (uniforms[:, 0] * self._cubes.training_views).astype(np.int64)
        return self._batch(clip_ids, self._cubes.test_views + chosen), labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The test views of each clip, one after the other, with R = `test_rows`.

        Returns:
            {"cube", "pooled", "joints"}: float32 (B·R, …), labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that the cache does not hold.
        """
        labels = self._labels_of(clip_ids)
        views = np.tile(np.arange(self.test_rows), len(clip_ids))
        return self._batch(np.repeat(clip_ids, self.test_rows).tolist(), views), np.repeat(labels, self.test_rows)

    def _input_fix(self) -> str:
        return "use FrameClipSource for a model that holds its network"

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        cubes = self._cubes
        read = {
            "cube": lambda: to_float32(cubes.cubes(clip_ids, views)),
            "pooled": lambda: cubes.pooled(clip_ids, views),
            "joints": lambda: cubes.joints(clip_ids, views),
        }
        return {name: read[name]() for name in self.inputs}
