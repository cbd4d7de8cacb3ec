"""Sources whose rows are views of clips with joints in them: drawn from clips, or what a frozen network makes of cached ones.

A view is some frames of a clip, cropped or mirrored; what decides that is `draws` random numbers (`video/rgb_clips.py`,
`video/frame_clips.py`). Subclasses say which clips, which network and which joints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from keras_actrec.cache.clip_views import SplitViewCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.pipelines.clip_source import ClipSource, check_options
from keras_actrec.pipelines.half_floats import to_float32
from keras_actrec.skeletons.layout import SkeletonLayout


class ViewConfig(Protocol):
    """What a source asks of `RGBClipConfig` and `FrameClipConfig`."""

    @property
    def views(self) -> int:
        """Test views of a clip."""
        ...

    @property
    def draws(self) -> int:
        """Random numbers of a view."""
        ...


class ViewSource(ClipSource):
    """Rows that are views of clips: one drawn view in training, the test views in tests.

    Attributes:
        config: frames, size and test views.
        layout: what the joints are.
    """

    config: ViewConfig
    layout: SkeletonLayout

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each of `inputs`."""
        shapes = self._row_shapes()
        return {name: shapes[name] for name in self.inputs}

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: its test views."""
        return self.config.views

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one view of each clip.

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, `draws`) in [0, 1); the class says what they decide.

        Returns:
            Each of `inputs`, float32 (B, …), and labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache (or the pictures) does not hold, or joints that cannot be placed in its images.
            ConfigError: not `draws` random numbers per clip.
            VideoError: a video does not read.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        return self._batch(clip_ids, self._training_views(uniforms)[:, None]), labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The test views of each clip, one after the other, with R = `test_rows`.

        Returns:
            Each of `inputs`, float32 (B·R, …), and labels int32 (B·R,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache (or the pictures) does not hold, or joints that cannot be placed in its images.
            VideoError: a video does not read.
        """
        labels = self._labels_of(clip_ids)
        views = self._test_views()
        return self._batch(clip_ids, np.broadcast_to(views, (len(clip_ids), *views.shape))), np.repeat(labels, self.test_rows)

    def _row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input that there could be."""
        raise NotImplementedError

    def _training_views(self, uniforms: np.ndarray) -> np.ndarray:
        """The views (B, …) that random numbers (B, draws) choose."""
        raise NotImplementedError

    def _test_views(self) -> np.ndarray:
        """The test views (R, …), the same for every clip."""
        raise NotImplementedError

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        """Each of `inputs`, (B·V, …), of views (B, V, …)."""
        raise NotImplementedError


class DrawnViewSource(ViewSource):
    """Pictures of views, and where the joints are in them. A view is its random numbers, float64 (draws,).

    Args:
        poses: the pose cache; None where there is none.
        labels, inputs, beside, beside_holds, joints_in_memory: as for `ClipSource`; inputs are "clip" and "joints", or "clip"
            alone.
        config: frames, size and test views.
        layout: what the joints are.

    Raises:
        CacheError: the pose cache is of another layout, or the caches disagree about a clip's length.
    """

    def __init__(
        self,
        poses: PoseCache | None,
        labels: Mapping[str, int],
        inputs: Sequence[str],
        config: ViewConfig,
        layout: SkeletonLayout,
        *,
        beside: Mapping[str, int],
        beside_holds: str,
        joints_in_memory: int,
    ):
        super().__init__(poses, labels, inputs, beside=beside, beside_holds=beside_holds, joints_in_memory=joints_in_memory)
        if poses is not None:
            self._check_options([("layout", poses.options.layout, layout.name)])
        self.config, self.layout = config, layout

    @property
    def draws(self) -> int:
        """Uniform random numbers that a training row takes."""
        return self.config.draws

    def _training_views(self, uniforms: np.ndarray) -> np.ndarray:
        return uniforms

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        batch = {}
        if "clip" in self.inputs:
            batch["clip"] = self._read_clips(clip_ids, views)
        if "joints" in self.inputs:
            batch["joints"] = np.concatenate([self._joints_in(*clip) for clip in zip(clip_ids, views, strict=True)])
        return batch

    def _read_clips(self, clip_ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        shape = self._row_shapes()["clip"]
        batch = np.empty((*views.shape[:2], *shape), np.float32)  # scaled in place: a row is 5 to 7 MB
        for target, clip, rows in zip(batch, clip_ids, views, strict=True):
            np.divide(self._pictures_of(clip, rows), np.float32(127.5), out=target)
            target -= 1.0
        return batch.reshape(-1, *shape)

    def _pictures_of(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        """Pictures uint8 (V, T, H, W, C) of views (V, draws) of a clip. CacheError for a clip that is not held."""
        raise NotImplementedError

    def _joints_in(self, clip_id: str, views: np.ndarray) -> np.ndarray:
        """Joints float32 (V, T, …, 2) in the pictures of the views."""
        raise NotImplementedError


class CachedViewSource(ViewSource):
    """What a cache holds of views. A view is its number: the test views are the first ones.

    A training row takes one random number, which chooses one of the further views.

    Args:
        cache: the cache.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        inputs: names of the arrays of a batch.
        config: frames, size and test views.
        layout: what the joints are.
        content: what the cache holds, in the plural, for messages.
        options: (name, value of the cache, value asked for) of each option beside the layout that has to agree.

    Raises:
        CacheError: the cache was made with other options.
    """

    draws = 1

    def __init__(
        self,
        cache: SplitViewCache,
        labels: Mapping[str, int],
        inputs: Sequence[str],
        config: ViewConfig,
        layout: SkeletonLayout,
        *,
        content: str,
        options: Iterable[tuple[str, object, object]],
    ):
        super().__init__(None, labels, inputs, beside=cache.lengths, beside_holds=content)
        check_options(cache, f"cache of {content}", [("layout", cache.options.layout, layout.name), *options])
        self.config, self.layout, self._cache = config, layout, cache

    def _training_views(self, uniforms: np.ndarray) -> np.ndarray:
        return self._cache.test_views + (uniforms[:, 0] * self._cache.training_views).astype(np.int64)

    def _test_views(self) -> np.ndarray:
        return np.arange(self.test_rows)

    def _batch(self, clip_ids: Sequence[str], views: np.ndarray) -> dict[str, np.ndarray]:
        ids, read = np.repeat(clip_ids, views.shape[1]).tolist(), self._readers()
        return {name: _widened(read[name](ids, views.reshape(-1))) for name in self.inputs}

    def _readers(self) -> dict[str, Callable[[Sequence[str], np.ndarray], np.ndarray]]:
        """How each input is read: (m clip ids, m views) → float16 or float32 (m, …)."""
        raise NotImplementedError


def _widened(array: np.ndarray) -> np.ndarray:
    """float16 or float32 → float32."""
    return to_float32(array) if array.dtype == np.float16 else array
