"""Person clips or their cached maps, with poses: the batches that VPN trains and tests on.

Source: "VPN: Learning Video-Pose Embedding for Activities of Daily Living", "Training" (frames of person crops or their
Mixed_5c map; t_p poses sampled uniformly from the clip) and "Inference" (fully convolutional in space).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_actrec.cache.clip_maps import ClipMapCache
from keras_actrec.cache.person_clips import PersonClips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.errors import ConfigError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY, ClipSource, check_options
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.video.view_images import view_images


class _VideoPoseSource(ClipSource):
    """Poses of a clip beside what the video network takes or gives; which of the two, a subclass says.

    A training row takes 1 + P random numbers: where in the clip the video starts, and one pose of each of P segments. The P
    poses are of the whole clip wherever the video starts. Test rows are the `sampling.views` views of a clip, each with the
    poses in the middle of their segments.
    """

    video: str
    """Name of the input beside "pose"."""

    def __init__(
        self,
        video_lengths: Mapping[str, int],
        content: str,
        poses: PoseCache,
        labels: Mapping[str, int],
        sampling: ClipSamplingConfig,
        layout: SkeletonLayout,
        joints_in_memory: int,
    ):
        super().__init__(
            poses,
            labels,
            (self.video, "pose"),
            beside=video_lengths,
            beside_holds=content,
            joints_in_memory=joints_in_memory,
        )
        self.sampling, self.layout = sampling, layout
        self._check_options([("layout", poses.options.layout, layout.name)])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: that of the video, pose (P, J, 3)."""
        pose = (self.sampling.poses, len(self.layout), 3)
        return {name: pose if name == "pose" else self._video_shape() for name in self.inputs}

    @property
    def draws(self) -> int:
        """Uniform random numbers that a training row takes: 1 for the video, P for the poses."""
        return 1 + self.sampling.poses

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its views."""
        return self.sampling.views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one row of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, 1 + P) in [0, 1), the random number of the video, then those of the poses.

        Returns:
            {"clip" or "map": float32 (B, …), "pose": float32 (B, P, J, 3)}, labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold.
            ConfigError: not `draws` random numbers per clip.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        batch = {}
        if self.video in self.inputs:
            batch[self.video] = self._training_video(clip_ids, uniforms[:, 0])
        if "pose" in self.inputs:
            batch["pose"] = self._drawn_poses(clip_ids, uniforms[:, 1:])
        return batch, labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The views of each clip, one after the other, with R = `test_rows`.

        Returns:
            {"clip" or "map": float32 (B·R, …), "pose": float32 (B·R, P, J, 3)}, labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold.
        """
        labels = self._labels_of(clip_ids)
        batch = {}
        if self.video in self.inputs:
            batch[self.video] = self._test_video(clip_ids)
        if "pose" in self.inputs:
            middles = np.full((len(clip_ids), self.sampling.poses), 0.5)
            batch["pose"] = np.repeat(self._drawn_poses(clip_ids, middles), self.test_rows, axis=0)
        return batch, np.repeat(labels, self.test_rows)

    def _video_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _training_video(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> np.ndarray:
        """From one random number per clip (B,)."""
        raise NotImplementedError

    def _test_video(self, clip_ids: Sequence[str]) -> np.ndarray:
        """All views of each clip."""
        raise NotImplementedError

    def _drawn_poses(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> np.ndarray:
        rows = zip(clip_ids, uniforms, strict=True)
        return np.stack([
            self._clip_joints(clip)[pose_frames(self._length(clip), row, self.sampling)] for clip, row in rows
        ])  # fmt: skip

    def _read_joints(self, clip_id: str) -> np.ndarray:
        return clip_poses(super()._read_joints(clip_id), self.layout)  # (T, J, 3): what all its rows are drawn from


class PersonClipSource(_VideoPoseSource):
    """Frames of person clips with poses.

    Args:
        clips: person clips, HDF5 or JPEG folders.
        poses: the pose cache.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        sampling: frames, stride, poses, and views for testing.
        layout: what the joints are.
        image_size: side of the images that a batch holds; stored ones of another size are resized. Larger than in training for
            fully convolutional tests.
        joints_in_memory: bytes of poses kept in memory.

    Attributes:
        inputs: ("clip", "pose"): float32 (B, F, image_size, image_size, 3) in [-1, 1], float32 (B, P, J, 3).
        clip_ids: the labelled clips that both caches hold, in the order of `labels`.

    Raises:
        CacheError: the pose cache is of another layout, or the caches disagree about a clip's length.
        ConfigError: an image size below 1.
    """

    video = "clip"

    def __init__(
        self,
        clips: PersonClips,
        poses: PoseCache,
        labels: Mapping[str, int],
        sampling: ClipSamplingConfig,
        *,
        layout: SkeletonLayout,
        image_size: int,
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        if image_size < 1:
            raise ConfigError("image_size must be positive", found=image_size)
        self.image_size, self._clips = image_size, clips
        super().__init__(clips.lengths, "person clips", poses, labels, sampling, layout, joints_in_memory)

    def _input_fix(self) -> str:
        return "use ClipMapSource for a model that begins at the map of its video network"

    def _video_shape(self) -> tuple[int, ...]:
        return (self.sampling.frames, self.image_size, self.image_size, 3)

    def _training_video(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> np.ndarray:
        return self._read_clips(clip_ids, [uniforms[i : i + 1] for i in range(len(uniforms))])

    def _test_video(self, clip_ids: Sequence[str]) -> np.ndarray:
        return self._read_clips(clip_ids, [view_uniforms(self.sampling.views)] * len(clip_ids))

    def _read_clips(self, clip_ids: Sequence[str], starts: Sequence[np.ndarray]) -> np.ndarray:
        """Views of each clip that begin where `starts` says, scaled; starts: per clip float64 (views,)."""
        views = len(starts[0])
        # Scaled in place: at 64 frames of 224 pixels a row is 39 MB, and copies of it would be most of the memory.
        batch = np.empty((len(clip_ids), views, *self._video_shape()), np.float32)
        for target, clip_id, uniforms in zip(batch, clip_ids, starts, strict=True):
            frames = np.stack([clip_frames(self._length(clip_id), uniform, self.sampling) for uniform in uniforms])
            images = view_images(lambda rows, clip=clip_id: self._clips.images(clip, rows), frames, self.image_size)
            np.divide(images, np.float32(127.5), out=target)
            target -= 1.0
        return batch.reshape(len(clip_ids) * views, *self._video_shape())


class ClipMapSource(_VideoPoseSource):
    """Cached maps of a frozen video network with poses. In training the random number of the video chooses one of the views.

    Args:
        maps: the cache of clip maps; its frames, stride and views have to be those of `sampling`.
        poses, labels, sampling, layout, joints_in_memory: as for `PersonClipSource`.

    Attributes:
        inputs: ("map", "pose"): float32 (B, t, h, w, c), float32 (B, P, J, 3).
        clip_ids: the labelled clips that both caches hold, in the order of `labels`.

    Raises:
        CacheError: a cache was made with other options, or the caches disagree about a clip's length.
    """

    video = "map"

    def __init__(
        self,
        maps: ClipMapCache,
        poses: PoseCache,
        labels: Mapping[str, int],
        sampling: ClipSamplingConfig,
        *,
        layout: SkeletonLayout,
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        self._maps = maps
        _check_views(maps, sampling)
        super().__init__(maps.lengths, "clip maps", poses, labels, sampling, layout, joints_in_memory)

    def _input_fix(self) -> str:
        return "use PersonClipSource for a model that holds its video network"

    def _video_shape(self) -> tuple[int, ...]:
        return self._maps.map_shape

    def _training_video(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> np.ndarray:
        views = (uniforms * self.sampling.views).astype(np.int64)
        return self._maps.maps(clip_ids, views).astype(np.float32)

    def _test_video(self, clip_ids: Sequence[str]) -> np.ndarray:
        views = np.arange(self.sampling.views)
        return self._maps.maps(np.repeat(clip_ids, len(views)).tolist(), np.tile(views, len(clip_ids))).astype(np.float32)


def _check_views(maps: ClipMapCache, sampling: ClipSamplingConfig) -> None:
    made = maps.options.options["sampling"]
    check_options(maps, "cache of clip maps", [(name, value, getattr(sampling, name)) for name, value in made.items()])
