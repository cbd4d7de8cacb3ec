"""Caches as large as one likes without a data set: poses and hand features of clips that never were, in the shape of NTU's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.schema import HAND_FEATURES, POSES, CacheOptions, plan_cache
from keras_actrec.cache.writer import FeatureShardWriter, PoseShardWriter
from keras_actrec.pipelines.clip_source import JOINTS_IN_MEMORY
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences

CLASSES = 60
SHORTEST, LONGEST = 70, 100
TWO_PEOPLE = 11 / 60
"""Share of NTU's classes that two people act."""
_BLOCK = 256


def make_caches(folder: Path, clips: int, *, seed: int = 0, clips_per_shard: int = 64) -> None:
    """Writes `folder`/poses and `folder`/hands: clips of 70 to 100 frames, mostly of one person, as the extractions do.

    Joints are random walks, features the absolute values of normal draws, as after a ReLU. About 100 MB for 128 clips.
    """
    rng = np.random.default_rng(seed)
    names = [f"S001C001P{clip // 1000:03d}R001A{clip % 1000:03d}" for clip in range(clips)]
    lengths = dict(zip(names, rng.integers(SHORTEST, LONGEST, clips, endpoint=True).tolist(), strict=True))
    people = dict(zip(names, np.where(rng.random(clips) < TWO_PEOPLE, 2, 1).tolist(), strict=True))
    _write_poses(folder / "poses", lengths, people, rng, clips_per_shard)
    _write_features(folder / "hands", lengths, people, rng, clips_per_shard)


def open_source(folder: Path, *, hands: bool = True, joints_in_memory: int = JOINTS_IN_MEMORY) -> SubsequenceSource:
    """The source of what `make_caches` wrote, set up as the experiments do; labels are drawn."""
    poses = PoseCache(folder / "poses")
    labels = np.random.default_rng(0).integers(CLASSES, size=len(poses.clip_ids)).tolist()
    return SubsequenceSource(
        poses,
        FeatureCache(folder / "hands") if hands else None,
        dict(zip(poses.clip_ids, labels, strict=True)),
        PoseTensorConfig(),
        SamplingConfig(),
        joints_in_memory=joints_in_memory,
    )


def cache_bytes(folder: Path) -> int:
    """Bytes of all shards below a folder."""
    return sum(shard.stat().st_size for shard in folder.rglob("*.h5"))


def drop_from_page_cache(folder: Path) -> None:
    """Has the kernel forget what it keeps in memory of the shards below a folder, once on the disk (POSIX_FADV_DONTNEED)."""
    for shard in folder.rglob("*.h5"):
        descriptor = os.open(shard, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _write_poses(
    folder: Path, lengths: dict[str, int], people: dict[str, int], rng: np.random.Generator, clips_per_shard: int
) -> None:
    index = plan_cache(folder, CacheOptions(POSES, "made", KINECT_V2.name, {}), lengths, clips_per_shard=clips_per_shard)
    for shard, clips in enumerate(index.shards):
        with PoseShardWriter(folder, index, shard) as writer:
            for clip in clips:
                joints = rng.normal(0, 0.02, (lengths[clip], 2, len(KINECT_V2), 3)).cumsum(axis=0).astype(np.float32)
                joints += rng.uniform((-0.3, -0.9, 2.9), (0.3, 0.9, 3.1), (2, len(KINECT_V2), 3)).astype(np.float32)
                joints[:, people[clip] :] = np.nan
                frames = test_subsequences(lengths[clip], SamplingConfig())
                tensors = clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig())[frames]
                pixels = 200 * joints[..., :2] + np.float32(500)
                writer.add(clip, joints=joints, pixels=pixels, test_frames=frames, test_tensors=tensors, cleaning={})
            writer.finish()


def _write_features(
    folder: Path, lengths: dict[str, int], people: dict[str, int], rng: np.random.Generator, clips_per_shard: int
) -> None:
    index = plan_cache(
        folder, CacheOptions(HAND_FEATURES, "made", KINECT_V2.name, {}), lengths, clips_per_shard=clips_per_shard
    )
    block = np.abs(rng.standard_normal((_BLOCK, 2048), np.float32)).astype(np.float16)
    for shard, clips in enumerate(index.shards):
        with FeatureShardWriter(folder, index, shard) as writer:
            for clip in clips:
                writer.begin_clip(clip, lengths[clip])
                frames, hands = np.divmod(np.arange(lengths[clip] * 2 * people[clip]), 2 * people[clip])
                writer.write(frames, hands, block[rng.integers(_BLOCK, size=len(frames))])
                writer.end_clip()
            writer.finish()
