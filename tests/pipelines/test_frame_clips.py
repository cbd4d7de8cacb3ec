"""Batches of whole frames or cached cubes with the first person's joints: which frames, mirrored or not, where joints are."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.cache.frame_cubes import FrameCubeCache, FrameCubeShardWriter
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import FRAME_CUBES, CacheOptions, plan_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.frame_clips import FrameClipConfig, FrameClipSource, FrameCubeSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.video.frame_clips import test_views
from tests.pipelines.sources import (
    LABELS,
    LENGTHS,
    TRAINING_VIEWS,
    check_cached_views,
    check_evaluation_batches,
    check_training_batches,
    check_unknown_clips_labels_and_numbers,
    painted,
    write_pixels,
    write_views,
)

SIZE = (4, 6)
CONFIG = FrameClipConfig(frames=3, picture_size=SIZE, views=2, seed=4)
CUBE, POOLED = (3, 1, 2, 5), 6
LEFT, RIGHT = KINECT_V2.hands


class Pictures:
    """`painted` pictures, of videos of 120x60."""

    picture_size, channels, stream = SIZE, 3, "rgb"

    def __init__(self, lengths: dict[str, int]):
        self.lengths = lengths

    def source_size(self, clip_id):
        return (120, 60)

    def pictures(self, clip_id, frames):
        return painted(clip_id, frames, SIZE)

    def mirrored(self, pictures):
        return pictures[..., ::-1, :]


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    return write_pixels(tmp_path_factory.mktemp("poses"), second=55)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Values that hold the clip's number and the view."""
    folder = tmp_path_factory.mktemp("cubes")
    views = {"frames": 3, "views": 2, "mirror": True, "seed": 4, "training": TRAINING_VIEWS}
    options = {"views": views, "picture_size": SIZE, "poses": None}
    index = plan_cache(folder, CacheOptions(FRAME_CUBES, "test", "kinect_v2", options), LENGTHS)
    writer = FrameCubeShardWriter(folder, index, 0, cube_shape=CUBE, pooled=POOLED, joints=25)
    write_views(writer, index, (CUBE, (3, POOLED), (3, 25, 2)))
    return FrameCubeCache(folder)


@pytest.fixture
def clip_source(poses):
    return FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture
def cube_source(cubes):
    return FrameCubeSource(cubes, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture(params=["clip", "cube"])
def source(request):
    return request.getfixturevalue(f"{request.param}_source")


def shown(clip: np.ndarray, number: int) -> tuple[list[int], bool]:
    """(frames, mirrored) of a row (T, H, W, 3)."""
    values = np.rint((clip + 1) * 127.5).astype(int)
    np.testing.assert_allclose((clip + 1) * 127.5, values, atol=1e-4)
    columns = values[:, 0, :, 0].tolist()
    assert columns in ([[0, 1, 2, 3, 4, 5]] * 3, [[5, 4, 3, 2, 1, 0]] * 3)
    return (values[:, 0, 0, 2] - 40 * number).tolist(), columns[0][0] == 5


def joints_at(frames: list[int]) -> np.ndarray:
    joints = np.empty((len(frames), 25, 2))
    joints[..., 0] = 4 * np.arange(25) / 120 * 2 - 1
    joints[..., 1] = (np.array(frames) / 60 * 2 - 1)[:, None]
    return joints


# What a row holds ------------------------------------------------------------------------------------------------------------


def test_clips_and_shapes(clip_source, cube_source):
    for source in (clip_source, cube_source):
        assert source.clip_ids == ("c3", "c1", "c2")
        assert (source.test_rows, source.label("c1")) == (2, 5)
    assert (clip_source.draws, cube_source.draws) == (2, 1)
    assert clip_source.inputs == ("clip", "joints") and cube_source.inputs == ("cube", "pooled", "joints")
    assert clip_source.shapes == {"clip": (3, *SIZE, 3), "joints": (3, 25, 2)}
    assert cube_source.shapes == {"cube": CUBE, "pooled": (3, POOLED), "joints": (3, 25, 2)}


def test_a_training_row_by_hand(clip_source):
    # c1 has 20 frames: floor((i + 0.5) · 20 / 3) = 3, 10, 16; c2 has 2: floor((i + 0.99) · 2 / 3) = 0, 1, 1.
    batch, labels = clip_source.training_batch(["c1", "c2"], np.array([[0.5, 0.49], [0.99, 0.5]]))
    assert labels.tolist() == [5, 0] and labels.dtype == np.int32
    assert batch["clip"].dtype == batch["joints"].dtype == np.float32
    assert batch["clip"].min() >= -1
    assert shown(batch["clip"][0], 1) == ([3, 10, 16], False) and shown(batch["clip"][1], 2) == ([0, 1, 1], True)
    np.testing.assert_allclose(batch["joints"][0], joints_at([3, 10, 16]), atol=1e-6)
    mirrored = joints_at([0, 1, 1]) * [-1, 1]
    np.testing.assert_allclose(batch["joints"][1, :, LEFT], mirrored[:, RIGHT], atol=1e-6)
    np.testing.assert_allclose(batch["joints"][1, :, 0], mirrored[:, 0], atol=1e-6)


def test_test_rows_are_the_same_views_for_all_clips(clip_source):
    batch, labels = clip_source.test_batch(["c1", "c3"])
    assert labels.tolist() == [5, 5, 7, 7]
    # c1: floor((i + 0.25) · 20 / 3), floor((i + 0.75) · 20 / 3); c3 with 11.
    frames = [[1, 8, 15], [5, 11, 18], [0, 4, 8], [2, 6, 10]]
    assert [shown(row, n) for row, n in zip(batch["clip"], (1, 1, 3, 3), strict=True)] == [(row, False) for row in frames]
    np.testing.assert_allclose(batch["joints"], [joints_at(row) for row in frames], atol=1e-6)
    expected, _ = clip_source.training_batch(["c1", "c1"], test_views(CONFIG))
    np.testing.assert_array_equal(batch["clip"][:2], expected["clip"])


def test_joints_of_another_size(poses):
    source = FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2, pixel_size=(240, 30))
    joints = source.training_batch(["c1"], np.array([[0.5, 0.0]]))[0]["joints"]
    np.testing.assert_allclose(joints[0, :, 10], [[40 / 120 - 1, frame / 15 - 1] for frame in (3, 10, 16)], atol=1e-6)


def test_without_poses_all_joints_are_unknown():
    source = FrameClipSource(Pictures(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    assert source.clip_ids == ("c3", "c1", "c2")
    batch, _ = source.test_batch(["c1"])
    assert batch["joints"].shape == (2, 3, 25, 2) and batch["joints"].dtype == np.float32 and np.isnan(batch["joints"]).all()
    assert shown(batch["clip"][0], 1) == ([1, 8, 15], False)


def test_only_lengths_of_labelled_clips_are_asked_for(poses):
    class Lengths(dict):
        def __getitem__(self, clip):
            assert clip != "c4"
            return super().__getitem__(clip)

    for given in (poses, None):
        source = FrameClipSource(Pictures(Lengths(LENGTHS)), given, LABELS, CONFIG, layout=KINECT_V2)
        assert source.clip_ids == ("c3", "c1", "c2")


def test_training_chooses_one_of_the_further_views_and_the_first_ones_are_the_tests(cube_source):
    check_cached_views(cube_source)


def test_only_what_is_selected_is_read(clip_source, cube_source, monkeypatch):
    draws = np.random.default_rng(0).random((2, 2))
    whole, _ = clip_source.training_batch(["c1", "c3"], draws)
    monkeypatch.setattr(Pictures, "pictures", None)
    joints = clip_source.select(["joints"])
    np.testing.assert_array_equal(joints.training_batch(["c1", "c3"], draws)[0]["joints"], whole["joints"])
    monkeypatch.undo()
    monkeypatch.setattr(PoseCache, "pixels", None)
    clips = clip_source.select(["clip"])
    assert (clips.inputs, clips.draws, set(clips.shapes)) == (("clip",), 2, {"clip"})
    batch, _ = clips.training_batch(["c1", "c3"], draws)
    assert set(batch) == {"clip"} == set(clips.test_batch(["c1"])[0])
    np.testing.assert_array_equal(batch["clip"], whole["clip"])
    monkeypatch.setattr(FrameCubeCache, "pooled", None)
    assert set(cube_source.select(["cube", "joints"]).test_batch(["c1"])[0]) == {"cube", "joints"}
    with pytest.raises(ConfigError, match=r"found 'cube', .*FrameCubeSource"):
        clip_source.select(["cube"])
    with pytest.raises(ConfigError, match=r"found 'clip', .*FrameClipSource"):
        cube_source.select(["clip"])


# Through tf.data ------------------------------------------------------------------------------------------------------------


def test_training_batches_are_reproducible(source):
    check_training_batches(source)


def test_evaluation_batches_hold_every_view_once(source):
    check_evaluation_batches(source)


# Errors ------------------------------------------------------------------------------------------------------------


def test_unknown_clips_labels_and_numbers(source):
    check_unknown_clips_labels_and_numbers(source)


def test_a_clip_without_pictures():
    source = FrameClipSource(Pictures(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    for inputs in (["clip"], ["joints"]):
        with pytest.raises(CacheError, match="the cache of pictures does not hold clip c9"):
            source.select(inputs).test_batch(["c9"])


def test_caches_that_do_not_fit(poses, cubes):
    with pytest.raises(CacheError, match=r"other options: layout \(found kinect_v2, expected sbu_15\)"):
        FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"frame cubes was made .*: layout \(found kinect_v2, expected sbu_15\)"):
        FrameCubeSource(cubes, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"cache of pictures disagree .* clip c2 \(found 8 frames .* 2 frames with poses"):
        FrameClipSource(Pictures(LENGTHS | {"c2": 8}), poses, LABELS, CONFIG, layout=KINECT_V2)
    with pytest.raises(ConfigError, match=r"another size than the clips \(found pictures \(4, 6\), expected .*\(240, 320\)"):
        FrameClipSource(Pictures(LENGTHS), poses, LABELS, FrameClipConfig(), layout=KINECT_V2)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("frames", 8, "3"), ("picture_size", (4, 8), r"\(4, 6\)"), ("views", 1, "2"), ("mirror", False, "True"), ("seed", 5, "4")],
)
def test_cubes_of_other_views_are_refused(cubes, name, value, found):
    config = FrameClipConfig(**{"frames": 3, "picture_size": SIZE, "views": 2, "seed": 4, name: value})
    with pytest.raises(CacheError, match=rf"frame cubes was made .*: {name} \(found {found}, expected"):
        FrameCubeSource(cubes, LABELS, config, layout=KINECT_V2)
