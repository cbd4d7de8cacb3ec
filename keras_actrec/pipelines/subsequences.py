"""Sub-sequences of clips, read from the caches: the batches that the two-stream network trains and tests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.errors import ConfigError
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY, ClipSource
from keras_actrec.skeletons.augmentation import (
    NO_AUGMENTATION,
    Augmentation,
    AugmentationConfig,
    apply_augmentation,
    draw_augmentation,
)
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor, pose_tensor_width
from keras_actrec.skeletons.sampling import SamplingConfig, subsequence_frames
from keras_actrec.skeletons.views import PLAIN, check_views, has_second, view, view_hands

_SEED_DRAWS = 2  # Uniform numbers of a row that seed its augmentation: 106 random bits, no two rows alike.


class SubsequenceSource(ClipSource):
    """Turns clip ids into arrays: random sub-sequences for training, the cached K test sub-sequences for testing.

    Pose tensors of training sub-sequences are computed from the cached joints along the clip's own frames, so that
    velocities and accelerations do not depend on the sampling. Hand features are read for the drawn frames only. With an
    augmentation every training sub-sequence is of another view of its clip; hand features follow their hands to the places of
    `Augmentation.hands`, but the pictures behind them stay as they are. Test sub-sequences are never augmented; `with_views`
    adds fixed views of them.

    Args:
        pose_cache: cleaned joints and test sub-sequences.
        feature_cache: hand features; None for a model that sees poses only.
        labels: clip id → class index. Clips outside of it do not exist for this source.
        tensor: layout of the pose tensors; has to be the one that the pose cache was made with.
        sampling: F frames, K test sub-sequences; has to be the one that the pose cache was made with.
        layout: what the joints are.
        augmentation: what is drawn for each training sub-sequence. People are not swapped where `tensor` has one person: that
            would train on the other one.
        joints_in_memory: bytes of cleaned joints kept in memory, those of the first clips (25 kB per person of an NTU clip).

    Attributes:
        clip_ids: the labelled clips that every cache holds, in the order of `labels`.
        inputs: names of the arrays of a batch, "pose" and, with a feature cache, "hands".

    Raises:
        CacheError: the pose cache was made for another layout, another number of frames or sub-sequences or another width; or
            the caches disagree about a clip's length.
    """

    def __init__(
        self,
        pose_cache: PoseCache,
        feature_cache: FeatureCache | None,
        labels: Mapping[str, int],
        tensor: PoseTensorConfig,
        sampling: SamplingConfig,
        *,
        layout: SkeletonLayout = KINECT_V2,
        augmentation: AugmentationConfig = NO_AUGMENTATION,
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        self.tensor, self.sampling, self.layout = tensor, sampling, layout
        self.augmentation = replace(augmentation, person_swap=0.0) if tensor.people == 1 else augmentation
        self.views: tuple[str, ...] = (PLAIN,)
        self._features = feature_cache
        super().__init__(
            pose_cache,
            labels,
            ("pose",) if feature_cache is None else ("pose", "hands"),
            beside=None if feature_cache is None else feature_cache.lengths,
            beside_holds="features",
            joints_in_memory=joints_in_memory,
        )
        self._shapes = self._input_shapes()
        self._check_pose_cache()

    def _check_pose_cache(self) -> None:
        found = [("layout", self._poses.options.layout, self.layout.name)]
        if self.clip_ids:
            expected = (self.sampling.subsequences, *self._shapes["pose"])
            found.append(("shape of the test sub-sequences", self._poses.test_tensors(self.clip_ids[:1]).shape[1:], expected))
        self._check_options(found)

    def _input_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {"pose": (self.sampling.frames, pose_tensor_width(self.layout, self.tensor), 3)}
        if self._features is not None and self.clip_ids:
            probe = self._features.features(self.clip_ids[:1], np.zeros((1, 1), np.int32))
            shapes["hands"] = (self.sampling.frames, *probe.shape[2:])
        return shapes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each input: pose (F, W, 3), hands (F, 4, 2048)."""
        return {name: self._shapes[name] for name in self.inputs}

    @property
    def dtypes(self) -> dict[str, type[np.floating]]:
        """Type of each input: float32, of hands float16 as the cache holds them."""
        return {name: np.float16 if name == "hands" else np.float32 for name in self.inputs}

    @property
    def draws(self) -> int:
        """Uniform random numbers that one training sub-sequence takes: F, and two more with an augmentation."""
        return self.sampling.frames + (_SEED_DRAWS if self._augments else 0)

    @property
    def test_rows(self) -> int:
        """Rows of a test batch per clip: K for each view."""
        return self.sampling.subsequences * len(self.views)

    @property
    def plain_rows(self) -> int:
        """The first rows of a clip in a test batch: those of its plain view."""
        return self.sampling.subsequences

    def with_views(self, views: Sequence[str]) -> SubsequenceSource:
        """The same source with further views of every test sub-sequence, see `keras_actrec.skeletons.views`.

        Raises:
            ConfigError: unknown views, or ones that swap people where the pose tensors have one person.
        """
        check_views(tuple(views))
        if self.tensor.people == 1 and any("swapped" in name for name in views):
            raise ConfigError("pose tensors of one person have no swapped view", found=", ".join(views))
        changed = self._copy()
        changed.views = tuple(views)
        return changed

    def _input_fix(self) -> str:
        return "open the feature cache too, or use a model without the RGB stream"

    def training_batch(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws one random sub-sequence of each clip (paper section 4).

        Args:
            clip_ids: B clips; a clip may stand more than once.
            uniforms: float64 (B, draws) in [0, 1), the random numbers behind the drawn frames, then those of the augmentation.

        Returns:
            {"pose": float32 (B, F, W, 3), "hands": float16 (B, F, 4, 2048)}, labels int32 (B,).

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold.
            ConfigError: not `draws` random numbers per clip.
        """
        labels = self._labels_of(clip_ids)
        self._check_uniforms(clip_ids, uniforms)
        uniforms, seeds = np.split(uniforms, [self.sampling.frames], axis=1)
        drawn = [self._draw_augmentation(clip, seed) for clip, seed in zip(clip_ids, seeds, strict=True)]
        frames = np.stack([
            self._frames(clip, row, augmentation)
            for clip, row, augmentation in zip(clip_ids, uniforms, drawn, strict=True)
        ])  # fmt: skip
        batch = {}
        if "pose" in self.inputs:
            batch["pose"] = np.stack([
                clip_pose_tensor(self._augmented_joints(clip, augmentation), self.layout, self.tensor, frames=rows)
                for clip, rows, augmentation in zip(clip_ids, frames, drawn, strict=True)
            ])  # fmt: skip
        if "hands" in self.inputs:
            hands = self._features.features(clip_ids, frames)
            if self._augments:
                order = np.array([augmentation.hands for augmentation in drawn])
                hands = np.take_along_axis(hands, order[:, None, :, None], axis=2)
            batch["hands"] = hands
        return batch, labels

    def test_batch(self, clip_ids: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Reads the K cached test sub-sequences of each clip (paper section 4: logits are averaged over them).

        Returns:
            {"pose": float32 (B·R, F, W, 3), "hands": float16 (B·R, F, 4, 2048)}, labels int32 (B·R,), R = `test_rows`; the rows
            of a clip follow one another, K of the plain view first.

        Raises:
            DatasetError: a clip without a label.
            CacheError: a clip that a cache does not hold.
        """
        labels = np.repeat(self._labels_of(clip_ids), self.test_rows)
        batch = {}
        if "pose" in self.inputs:
            tensors = [self._poses.test_tensors(clip_ids), *(self._view_tensors(clip_ids, name) for name in self.views[1:])]
            batch["pose"] = np.stack(tensors, axis=1).reshape(-1, *self._shapes["pose"])
        if "hands" in self.inputs:
            frames = self._poses.test_frames(clip_ids)
            frames = frames.reshape(len(clip_ids), -1)  # one read per clip, not one per sub-sequence
            hands = self._features.features(clip_ids, frames)
            hands = np.stack([self._view_hands(clip_ids, hands, name) for name in self.views], axis=1)
            batch["hands"] = hands.reshape(-1, *self._shapes["hands"])
        return batch, labels

    def _view_tensors(self, clip_ids: Sequence[str], name: str) -> np.ndarray:
        """The test sub-sequences of clips in one view, (B, K, F, W, 3)."""
        views = (view(self._clip_joints(clip), self.layout, name) for clip in clip_ids)
        tensors = (clip_pose_tensor(joints, self.layout, self.tensor) for joints in views)
        return np.stack([tensor[f] for tensor, f in zip(tensors, self._poses.test_frames(clip_ids), strict=True)])

    def _view_hands(self, clip_ids: Sequence[str], hands: np.ndarray, name: str) -> np.ndarray:
        """(B, K·F, 4, 2048) with each hand at the place that it has in the view; the pictures stay as they are."""
        if name == PLAIN:
            return hands
        order = np.array([view_hands(name, has_second(self._clip_joints(clip))) for clip in clip_ids])
        return np.take_along_axis(hands, order[:, None, :, None], axis=2)

    @property
    def _augments(self) -> bool:
        return self.augmentation != NO_AUGMENTATION

    def _draw_augmentation(self, clip_id: str, seed: np.ndarray) -> Augmentation | None:
        if not self._augments:
            return None
        rng = np.random.default_rng((seed * 2.0**53).astype(np.int64).tolist())  # All 53 bits of each number.
        return draw_augmentation(self._clip_joints(clip_id), self.layout, self.augmentation, rng)

    def _clip_joints(self, clip_id: str) -> np.ndarray:
        kept = super()._clip_joints(clip_id)
        if kept.shape[1] == 2:
            return kept
        joints = np.full((len(kept), 2, *kept.shape[2:]), np.nan, np.float32)
        joints[:, :1] = kept
        return joints

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """Joints (T, 2, J, 3), or (T, 1, J, 3) of a clip whose second person is never there: half the memory."""
        joints = super()._read_joints(clip_id)
        return joints[:, :1].copy() if np.isnan(joints[:, 1]).all() else joints

    def _augmented_joints(self, clip_id: str, augmentation: Augmentation | None) -> np.ndarray:
        joints = self._clip_joints(clip_id)
        return joints if augmentation is None else apply_augmentation(joints, self.layout, augmentation)

    def _frames(self, clip_id: str, uniforms: np.ndarray, augmentation: Augmentation | None) -> np.ndarray:
        start, stop = (0, self._length(clip_id)) if augmentation is None else augmentation.window
        return start + subsequence_frames(stop - start, uniforms[None], self.sampling.sampling)[0]
