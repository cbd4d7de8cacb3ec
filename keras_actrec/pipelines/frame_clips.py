"""Whole frames of clips → batches for RPAN: pictures and joints, or cached cubes of a frozen network and joints.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
frames at equal intervals from a random start in training, mirrored half of the time. Frames and joints of a row show the same
moments: both come from one row of random numbers. A model on cached cubes reads no video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.errors import ConfigError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY
from keras_actrec.pipelines.view_sources import CachedViewSource, DrawnViewSource
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.clip_pictures import Pictures
from keras_actrec.video.frame_clips import FrameClipConfig, test_views, view_joints, view_pictures


class FrameClipSource(DrawnViewSource):
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

    config: FrameClipConfig

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
            poses, labels, ("clip", "joints"), config, layout,
            beside=lengths, beside_holds="pictures", joints_in_memory=joints_in_memory,
        )  # fmt: skip
        self._pictures, self._pixel_size = pictures, pixel_size

    def _input_fix(self) -> str:
        return "use FrameCubeSource for a model that begins at the cubes of its network"

    def _row_shapes(self) -> dict[str, tuple[int, ...]]:
        frames = self.config.frames
        clip = (frames, *self.config.picture_size, self._pictures.channels)
        return {"clip": clip, "joints": (frames, len(self.layout), 2)}

    def _test_views(self) -> np.ndarray:
        return test_views(self.config)

    def _pictures_of(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        self._length(clip_id)  # an unknown clip is a CacheError here, whatever the pictures are
        return view_pictures(self._pictures, clip_id, views, self.config)

    def _joints_in(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        if self._poses is None:
            self._length(clip_id)
            return np.full((len(views), *self._row_shapes()["joints"]), np.nan, np.float32)
        size = self._pixel_size or self._pictures.source_size(clip_id)
        return view_joints(self._clip_joints(clip_id), size, views, self.layout, self.config)

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """Joints of the first person in pixels of the video, float32 (T, 1, J, 2)."""
        return self._poses.pixels(clip_id)[:, :1].copy()


class FrameCubeSource(CachedViewSource):
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

    _cache: FrameCubeCache

    def __init__(self, cubes: FrameCubeCache, labels: Mapping[str, int], config: FrameClipConfig, *, layout: SkeletonLayout):
        made = cubes.options.options
        super().__init__(
            cubes, labels, ("cube", "pooled", "joints"), config, layout, content="frame cubes",
            options=[
                ("picture_size", tuple(made["picture_size"]), config.picture_size),
                *((name, made["views"][name], getattr(config, name)) for name in ("frames", "views", "mirror", "seed")),
            ],
        )  # fmt: skip

    def _row_shapes(self) -> dict[str, tuple[int, ...]]:
        cubes = self._cache
        return {"cube": cubes.cube_shape, "pooled": cubes.pooled_shape, "joints": cubes.joints_shape}

    def _readers(self) -> dict[str, Callable[[Sequence[str], np.ndarray], np.ndarray]]:
        return {"cube": self._cache.cubes, "pooled": self._cache.pooled, "joints": self._cache.joints}

    def _input_fix(self) -> str:
        return "use FrameClipSource for a model that holds its network"
