"""Small caches for the tests of this room."""

from __future__ import annotations

import numpy as np

from keras_actrec.cache.schema import HAND_FEATURES, POSES, CacheOptions, plan_cache
from keras_actrec.cache.writer import FeatureShardWriter, PoseShardWriter
from keras_actrec.datasets.record import LeftOut

FEATURE_OPTIONS = CacheOptions(HAND_FEATURES, "ntu", "kinect_v2", {"crop_size": 50, "sensor": {"name": "resnet50"}}, "abc")
POSE_OPTIONS = CacheOptions(POSES, "ntu", "kinect_v2", {"sampling": {"frames": 20, "subsequences": 10}})
LENGTHS = {"a": 30, "b": 7, "c": 12, "d": 21, "e": 5}
LEFT_OUT = LeftOut("d", "hand_features", "the stream breaks off", "d.avi")


def feature_values(clip_id):
    """float16 (T, 4, 2048) with about half of the hands absent."""
    rng = np.random.default_rng(ord(clip_id))
    values = rng.uniform(0.5, 1.5, (LENGTHS[clip_id], 4, 2048)).astype(np.float16)
    values[rng.random(values.shape[:2]) < 0.5] = 0
    return values


def write_clip(writer, clip_id, values, *, rows=5):
    """Writes a clip as the extraction does: some crops at a time, in order of frames and hands."""
    writer.begin_clip(clip_id, len(values))
    frames, hands = np.nonzero(values.any(axis=2))
    for low in range(0, len(frames), rows):
        part = slice(low, low + rows)
        writer.write(frames[part], hands[part], values[frames[part], hands[part]])


def write_feature_shard(directory, index, shard):
    """Writes one shard; clip d breaks in mid-stream and is left out."""
    with FeatureShardWriter(directory, index, shard) as writer:
        for clip_id in index.shards[shard]:
            write_clip(writer, clip_id, feature_values(clip_id))
            if clip_id == LEFT_OUT.clip_id:
                writer.discard_clip(LEFT_OUT)
            else:
                writer.end_clip()
        return writer.finish()


def feature_cache(directory, *, clips_per_shard=2):
    """A feature cache of clips a to e: shards (a, b), (c, d), (e); d is left out. Returns its index."""
    index = plan_cache(directory, FEATURE_OPTIONS, LENGTHS, clips_per_shard=clips_per_shard)
    for shard in range(len(index.shards)):
        write_feature_shard(directory, index, shard)
    return index


def pose_values(clip_id):
    """Arguments of `PoseShardWriter.add`; person 2 is absent."""
    rng = np.random.default_rng(ord(clip_id))
    length = LENGTHS[clip_id]
    joints = rng.normal(size=(length, 2, 25, 3)).astype(np.float32)
    joints[:, 1] = np.nan
    return {
        "joints": joints,
        "pixels": joints[..., :2] * 100,
        "test_frames": np.sort(rng.integers(0, length, (10, 20)), axis=1).astype(np.int32),
        "test_tensors": rng.normal(size=(10, 20, 300, 3)).astype(np.float32),
        "cleaning": {"people": 1, "bodies_dropped": []},
    }


def pose_cache(directory, clips="abc", *, clips_per_shard=2):
    """A pose cache of some clips. Returns its index."""
    index = plan_cache(directory, POSE_OPTIONS, clips, clips_per_shard=clips_per_shard)
    for shard, ids in enumerate(index.shards):
        with PoseShardWriter(directory, index, shard) as writer:
            for clip_id in ids:
                writer.add(clip_id, **pose_values(clip_id))
            writer.finish()
    return index
