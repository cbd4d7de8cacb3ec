"""Small caches with content that tells where it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.schema import CacheOptions, plan_cache
from keras_actrec.cache.writer import FeatureShardWriter, PoseShardWriter
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences

TENSOR = PoseTensorConfig()


def clip_joints(clip: str, length: int) -> np.ndarray:
    """A random walk of person 1; person 2 is absent in clips with an even number."""
    number = int(clip[1:])
    joints = np.random.default_rng(number).normal(size=(length, 2, 25, 3)).cumsum(axis=0).astype(np.float32)
    if number % 2 == 0:
        joints[:, 1] = np.nan
    return joints


def write_pose_cache(
    folder: Path, lengths: dict[str, int], sampling: SamplingConfig, options: PoseTensorConfig = TENSOR
) -> PoseCache:
    """Poses of `clip_joints`."""
    index = plan_cache(folder, CacheOptions("poses", "test", "kinect_v2", {}), lengths)
    with PoseShardWriter(folder, index, 0) as writer:
        for clip in index.shards[0]:
            joints = clip_joints(clip, lengths[clip])
            frames = test_subsequences(lengths[clip], sampling)
            tensor = clip_pose_tensor(joints, KINECT_V2, options)
            pixels = np.zeros((*joints.shape[:3], 2), np.float32)
            writer.add(
                clip, joints=joints, pixels=pixels, test_frames=frames, test_tensors=tensor[frames], cleaning={}
            )  # fmt: skip
        writer.finish()
    return PoseCache(folder)


def write_feature_cache(folder: Path, lengths: dict[str, int]) -> FeatureCache:
    """Features whose first value is the frame, the second the hand, the third the clip's number; hand 3 is absent."""
    index = plan_cache(folder, CacheOptions("hand_features", "test", "kinect_v2", {}), lengths)
    with FeatureShardWriter(folder, index, 0) as writer:
        for clip in index.shards[0]:
            writer.begin_clip(clip, lengths[clip])
            frames, hands = (grid.ravel() for grid in np.mgrid[: lengths[clip], :3])
            features = np.zeros((len(frames), 2048), np.float16)
            features[:, 0], features[:, 1], features[:, 2] = frames, hands, int(clip[1:])
            writer.write(frames, hands, features)
            writer.end_clip()
        writer.finish()
    return FeatureCache(folder)
