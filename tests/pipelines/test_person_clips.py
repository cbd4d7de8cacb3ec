"""Batches of person clips or cached maps with poses: which frames, which values, which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.clip_maps import ClipMapCache, ClipMapShardWriter
from keras_actrec.cache.schema import CLIP_MAPS, CacheOptions, plan_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.person_clips import ClipMapSource, PersonClipSource
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.skeletons.sampling import SamplingConfig
from tests.pipelines.caches import clip_joints, write_pose_cache
from tests.pipelines.sources import check_evaluation_batches, check_training_batches, check_unknown_clips_labels_and_numbers

SIZE = 6
SAMPLING = ClipSamplingConfig(frames=4, stride=2, poses=3, views=2)
LENGTHS = {"c1": 20, "c2": 6, "c3": 11, "c4": 9}
LABELS = {"c3": 7, "c9": 1, "c1": 5, "c2": 0}
MAP = (2, 1, 1, 5)


def image(clip: str, frame: int) -> np.ndarray:
    """One value in all pixels, which tells clip and frame; the corner is 255."""
    picture = np.full((SIZE, SIZE, 3), 20 * int(clip[1:]) + frame, np.uint8)
    picture[0, 0] = 255
    return picture


class Clips:
    """Person clips in memory."""

    def __init__(self, lengths: dict[str, int]):
        self.lengths = lengths

    def images(self, clip_id, frames):
        return np.stack([image(clip_id, frame) for frame in frames])


def write_maps(folder: Path, lengths: dict[str, int], sampling: ClipSamplingConfig = SAMPLING) -> ClipMapCache:
    """Maps that hold the clip's number and the view."""
    views = {"frames": sampling.frames, "stride": sampling.stride, "views": sampling.views}
    index = plan_cache(folder, CacheOptions(CLIP_MAPS, "test", "kinect_v2", {"sampling": views}), lengths)
    with ClipMapShardWriter(folder, index, 0, MAP) as writer:
        for clip in index.shards[0]:
            maps = np.full((sampling.views, *MAP), int(clip[1:]), np.float16)
            maps[..., 0] = np.arange(sampling.views)[:, None, None, None]
            writer.add(clip, maps, lengths[clip])
        writer.finish()
    return ClipMapCache(folder)


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    return write_pose_cache(tmp_path_factory.mktemp("poses"), LENGTHS, SamplingConfig(frames=2, subsequences=1))


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("maps"), LENGTHS)


@pytest.fixture
def clip_source(poses):
    return PersonClipSource(Clips(LENGTHS), poses, LABELS, SAMPLING, layout=KINECT_V2, image_size=SIZE)


@pytest.fixture
def map_source(poses, maps):
    return ClipMapSource(maps, poses, LABELS, SAMPLING, layout=KINECT_V2)


@pytest.fixture(params=["clip", "map"])
def source(request):
    return request.getfixturevalue(f"{request.param}_source")


def frames_of(clips: np.ndarray, clip: str) -> list[list[int]]:
    """The frames that the rows of a batch show, from the value of a pixel that is not the corner."""
    assert (clips[:, :, 0, 0] == 1).all()
    return ((clips[:, :, 3, 3, 1] + 1) * 127.5 - 20 * int(clip[1:])).round().astype(int).tolist()


def expected_poses(clip: str, frames: list[int]) -> np.ndarray:
    """Person 1 less where its root is in the first frame: the random walks have no gaps."""
    person = clip_joints(clip, LENGTHS[clip])[:, 0]
    return (person - person[0, KINECT_V2.root])[frames]


# What a row holds ------------------------------------------------------------------------------------------------------------


def test_clips_and_shapes(clip_source, map_source):
    for source in (clip_source, map_source):
        assert source.clip_ids == ("c3", "c1", "c2")
        assert (source.draws, source.test_rows, source.label("c1")) == (4, 2, 5)
    assert clip_source.inputs == ("clip", "pose") and map_source.inputs == ("map", "pose")
    assert clip_source.shapes == {"clip": (4, SIZE, SIZE, 3), "pose": (3, 25, 3)}
    assert map_source.shapes == {"map": MAP, "pose": (3, 25, 3)}


def test_training_frames_start_where_the_first_number_says(clip_source):
    # 20 frames: 4 frames 2 apart start at 0..12, 0.5 is the seventh place; 6 frames: 4 in a row start at 0..2.
    batch, labels = clip_source.training_batch(["c1", "c2", "c1"], np.array([[0.5] * 4, [0.99, 0, 0, 0], [0.0] * 4]))
    assert labels.tolist() == [5, 0, 5] and labels.dtype == np.int32
    clips = batch["clip"]
    assert clips.dtype == np.float32 and clips.shape == (3, 4, SIZE, SIZE, 3)
    assert frames_of(clips[:1], "c1") == [[6, 8, 10, 12]]
    assert frames_of(clips[1:2], "c2") == [[2, 3, 4, 5]]
    assert frames_of(clips[2:], "c1") == [[0, 2, 4, 6]]


def test_pixels_are_scaled_to_minus_one_to_one(clip_source):
    batch, _ = clip_source.training_batch(["c2"], np.zeros((1, 4)))
    expected = np.stack([image("c2", frame) for frame in range(4)]).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(batch["clip"][0], expected, atol=1e-7)


def test_training_poses_are_one_of_each_segment_wherever_the_video_starts(source):
    # 11 frames in 3 segments: 0..2, 3..6, 7..10.
    for start in (0.0, 0.9):
        batch, _ = source.training_batch(["c3"], np.array([[start, 0.0, 0.5, 0.99]]))
        assert batch["pose"].dtype == np.float32
        np.testing.assert_allclose(batch["pose"][0], expected_poses("c3", [0, 5, 10]), atol=1e-6)


def test_the_first_number_chooses_the_view_of_a_map(map_source):
    uniforms = np.zeros((4, 4))
    uniforms[:, 0] = [0.0, 0.49, 0.5, 0.999]
    batch, _ = map_source.training_batch(["c1", "c2", "c3", "c1"], uniforms)
    assert batch["map"].dtype == np.float32 and batch["map"].shape == (4, *MAP)
    assert batch["map"][:, 0, 0, 0].tolist() == [[0, 1, 1, 1, 1], [0, 2, 2, 2, 2], [1, 3, 3, 3, 3], [1, 1, 1, 1, 1]]


def test_rows_of_a_test_are_the_views_with_the_middle_poses(clip_source, map_source):
    clips, labels = clip_source.test_batch(["c1", "c3"])
    maps, map_labels = map_source.test_batch(["c1", "c3"])
    assert labels.tolist() == map_labels.tolist() == [5, 5, 7, 7]
    # Starts 0..12 of c1 at 0.25 and 0.75; 0..3 of c3, 11 frames.
    assert frames_of(clips["clip"][:2], "c1") == [[3, 5, 7, 9], [9, 11, 13, 15]]
    assert frames_of(clips["clip"][2:], "c3") == [[1, 3, 5, 7], [3, 5, 7, 9]]
    assert maps["map"][:, 0, 0, 0, :2].tolist() == [[0, 1], [1, 1], [0, 3], [1, 3]]
    for batch in (clips, maps):
        # Segments of c1: 0..5, 6..12, 13..19; of c3: 0..2, 3..6, 7..10.
        np.testing.assert_allclose(batch["pose"][:2], [expected_poses("c1", [3, 9, 16])] * 2, atol=1e-6)
        np.testing.assert_allclose(batch["pose"][2:], [expected_poses("c3", [1, 5, 9])] * 2, atol=1e-6)


def test_images_of_another_size_are_resized(poses):
    for size in (3, 12):
        source = PersonClipSource(Clips(LENGTHS), poses, LABELS, SAMPLING, layout=KINECT_V2, image_size=size)
        assert source.shapes["clip"] == (4, size, size, 3)
        clips = source.test_batch(["c2"])[0]["clip"]
        assert clips.shape == (2, 4, size, size, 3)
        # Far from the bright corner each image has one value: 6 frames, 4 in a row from 0..2 at 0.25 and 0.75.
        values = np.array([[0, 1, 2, 3], [2, 3, 4, 5]]) + 40
        np.testing.assert_allclose(clips[:, :, -1, -1, 0], values / 127.5 - 1, atol=1e-6)


def test_select_reads_nothing_else(clip_source, map_source, monkeypatch):
    uniforms = np.random.default_rng(0).random((2, 4))
    whole, _ = map_source.training_batch(["c1", "c3"], uniforms)
    monkeypatch.setattr(Clips, "images", None)
    monkeypatch.setattr(ClipMapCache, "maps", None)
    for source in (clip_source.select(["pose"]), map_source.select(["pose"])):
        assert (source.inputs, source.draws, set(source.shapes)) == (("pose",), 4, {"pose"})
        np.testing.assert_array_equal(source.training_batch(["c1", "c3"], uniforms)[0]["pose"], whole["pose"])
        assert set(source.test_batch(["c1"])[0]) == {"pose"}
    with pytest.raises(ConfigError, match=r"found 'map', expected one of clip, pose\)\. .*ClipMapSource"):
        clip_source.select(["map", "pose"])
    with pytest.raises(ConfigError, match=r"found 'clip', expected one of map, pose\)\. .*PersonClipSource"):
        map_source.select(["clip"])


def test_joints_in_memory_change_nothing(poses, maps):
    uniforms = np.random.default_rng(1).random((3, 4))
    batches = []
    for memory in (0, 2**20):
        source = ClipMapSource(maps, poses, LABELS, SAMPLING, layout=KINECT_V2, joints_in_memory=memory)
        batches += [source.training_batch(["c1", "c2", "c3"], uniforms)[0]["pose"] for _ in range(2)]
    for batch in batches[1:]:
        np.testing.assert_array_equal(batch, batches[0])


# Through tf.data ------------------------------------------------------------------------------------------------------------


def test_training_batches_are_reproducible(source):
    check_training_batches(source)


def test_evaluation_batches_hold_every_view_once(source):
    check_evaluation_batches(source)


# Errors ------------------------------------------------------------------------------------------------------------


def test_unknown_clips_labels_and_numbers(source):
    check_unknown_clips_labels_and_numbers(source)


def test_a_pose_cache_of_another_layout(poses, maps):
    with pytest.raises(CacheError, match=r"other options: layout \(found kinect_v2, expected sbu_15\)"):
        ClipMapSource(maps, poses, LABELS, SAMPLING, layout=SBU_15)
    with pytest.raises(CacheError, match=r"other options: layout \(found kinect_v2, expected sbu_15\)"):
        PersonClipSource(Clips(LENGTHS), poses, LABELS, SAMPLING, layout=SBU_15, image_size=SIZE)


def test_caches_that_disagree_about_lengths(poses, tmp_path):
    lengths = LENGTHS | {"c2": 8}
    with pytest.raises(CacheError, match=r"cache of person clips disagree .* clip c2 \(found 8 frames .* 6 frames with poses"):
        PersonClipSource(Clips(lengths), poses, LABELS, SAMPLING, layout=KINECT_V2, image_size=SIZE)
    with pytest.raises(CacheError, match=r"cache of clip maps disagree .* clip c2 \(found 8 frames .* 6 frames with poses"):
        ClipMapSource(write_maps(tmp_path, lengths), poses, LABELS, SAMPLING, layout=KINECT_V2)


def test_maps_of_other_views_are_refused(poses, maps):
    for name, value, found in (("views", 1, 2), ("stride", 1, 2), ("frames", 8, 4)):
        sampling = ClipSamplingConfig(**{"frames": 4, "stride": 2, "poses": 3, "views": 2, name: value})
        with pytest.raises(CacheError, match=rf"clip maps was made .* options: {name} \(found {found}, expected {value}"):
            ClipMapSource(maps, poses, LABELS, sampling, layout=KINECT_V2)


def test_an_image_size_that_makes_no_sense(poses):
    with pytest.raises(ConfigError, match="image_size must be positive"):
        PersonClipSource(Clips(LENGTHS), poses, LABELS, SAMPLING, layout=KINECT_V2, image_size=0)
