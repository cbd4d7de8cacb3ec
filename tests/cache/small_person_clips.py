"""Small caches of person clips in both storages."""

from __future__ import annotations

import cv2
import numpy as np

from keras_actrec.cache.person_clip_writer import person_clip_writer
from keras_actrec.cache.schema import PERSON_CLIPS, CacheOptions, plan_cache
from keras_actrec.datasets.record import LeftOut

SIZE = 32
LENGTHS = {"a": 9, "b": 1, "c": 5, "d": 4, "e": 7}
BROKEN = LeftOut("d", "person_clips", "the stream breaks off", "d.avi")


def options(storage):
    return CacheOptions(PERSON_CLIPS, "ntu", "kinect_v2", {"storage": storage, "size": SIZE, "margin": 0.15})


def jpegs(clip_id):
    """The images of a clip; each frame has a colour of its own that survives JPEG."""
    for frame in range(LENGTHS[clip_id]):
        rgb = np.full((SIZE, SIZE, 3), color(clip_id, frame), np.uint8)
        yield cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


def color(clip_id, frame):
    """RGB."""
    return 20 * frame + 10, 40 * "abcde".index(clip_id) + 20, 200


def boxes(clip_id):
    return np.arange(4 * LENGTHS[clip_id], dtype=np.float32).reshape(-1, 4) + ord(clip_id)


def write_shard(directory, index, shard):
    """Writes one shard; clip d breaks after its images and is left out."""
    with person_clip_writer(directory, index, shard) as writer:
        for clip_id in index.shards[shard]:
            writer.begin_clip(clip_id)
            for jpeg in jpegs(clip_id):
                writer.write(jpeg)
            if clip_id == BROKEN.clip_id:
                writer.discard_clip(BROKEN)
            else:
                writer.end_clip(boxes(clip_id))
        return writer.finish()


def person_cache(directory, storage):
    """Clips a to e: shards (a, b), (c, d), (e); d is left out. Returns the index."""
    index = plan_cache(directory, options(storage), LENGTHS, clips_per_shard=2)
    for shard in range(len(index.shards)):
        write_shard(directory, index, shard)
    return index
