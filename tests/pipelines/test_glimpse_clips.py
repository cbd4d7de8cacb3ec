"""Batches of whole frames or cached maps with joints in the picture: which frames, which crop, where the joints are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.glimpse_maps import GlimpseMapCache, GlimpseMapShardWriter
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import GLIMPSE_MAPS, PERSON_CLIPS, CacheOptions, plan_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.glimpse_clips import GlimpseMapSource, RGBClipConfig, RGBClipSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.skeletons.sampling import uniforms
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

STORED, SIZE = 12, 8
CONFIG = RGBClipConfig(frames=3, image_size=SIZE, views=2, seed=4)
MAP, CONTEXT = (3, 1, 1, 5), 6


class Clips:
    """Person clips of `painted` frames."""

    directory = Path("clips")
    image_size = STORED

    def __init__(self, lengths: dict[str, int], boxes=(0, 0, 120, 60), **options):
        self.lengths, self._box = lengths, boxes
        self.options = CacheOptions(PERSON_CLIPS, "test", "kinect_v2", {"box": "whole", "pixel_size": None} | options)

    def images(self, clip_id, frames):
        return painted(clip_id, frames, (STORED, STORED))

    def boxes(self, clip_id):
        return np.tile(np.array(self._box, np.float32), (self.lengths[clip_id], 1))


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    return write_pixels(tmp_path_factory.mktemp("poses"), second=np.nan)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Values that hold the clip's number and the view."""
    folder = tmp_path_factory.mktemp("maps")
    views = {"frames": 3, "image_size": SIZE, "views": 2, "seed": 4, "training": TRAINING_VIEWS}
    index = plan_cache(folder, CacheOptions(GLIMPSE_MAPS, "test", "kinect_v2", {"views": views}), LENGTHS)
    writer = GlimpseMapShardWriter(folder, index, 0, map_shape=MAP, context=CONTEXT, joints=(2, 25))
    write_views(writer, index, (MAP, (3, CONTEXT), (3, 2, 25, 2)))
    return GlimpseMapCache(folder)


@pytest.fixture
def clip_source(poses):
    return RGBClipSource(Clips(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture
def map_source(maps):
    return GlimpseMapSource(maps, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture(params=["clip", "map"])
def source(request):
    return request.getfixturevalue(f"{request.param}_source")


def shown(clips: np.ndarray, clip: str) -> list[tuple[list[int], tuple[int, int]]]:
    """(frames, corner of the crop) of the rows of a batch, which is the same for all frames of a row."""
    values = (clips + 1) * 127.5
    assert np.ptp(values[:, :, 0, 0, :2], axis=1).max() < 1e-3
    frames = (values[:, :, 3, 3, 2] - 40 * int(clip[1:])).round().astype(int).tolist()
    corners = values[:, 0, 0, 0, :2].round().astype(int)
    assert (np.abs(values[:, :, :, :, 0] - corners[:, 0, None, None, None] - np.arange(SIZE)) < 1e-3).all()
    return list(zip(frames, map(tuple, corners.tolist()), strict=True))


def expected_joints(frames: list[int], corner: tuple[int, int]) -> np.ndarray:
    """A video of 120x60 on 12x12 pixels: x / 10, y / 5; less the corner, on 8 pixels."""
    joints = np.full((len(frames), 2, 25, 2), np.nan)
    joints[:, 0, :, 0] = (4 * np.arange(25) / 10 - corner[0]) / 8 * 2 - 1
    joints[:, 0, :, 1] = ((np.array(frames) / 5 - corner[1]) / 8 * 2 - 1)[:, None]
    return np.clip(joints, -1, 1)


# What a row holds ------------------------------------------------------------------------------------------------------------


def test_clips_and_shapes(clip_source, map_source):
    for source in (clip_source, map_source):
        assert source.clip_ids == ("c3", "c1", "c2")
        assert (source.test_rows, source.label("c1")) == (2, 5)
    assert (clip_source.draws, map_source.draws) == (5, 1)
    assert clip_source.inputs == ("clip", "joints") and map_source.inputs == ("map", "context", "joints")
    assert clip_source.shapes == {"clip": (3, SIZE, SIZE, 3), "joints": (3, 2, 25, 2)}
    assert map_source.shapes == {"map": MAP, "context": (3, CONTEXT), "joints": (3, 2, 25, 2)}


def test_a_training_row_by_hand(clip_source):
    # c1 has 20 frames, in segments 0..5, 6..12, 13..19; c2 has 2: 0, 0, 1. Corners 0..4 of 12 - 8 pixels.
    draws = np.array([[0, 0.5, 0.99, 0.3, 0.9], [0.9, 0.9, 0.9, 0, 0.99]])
    batch, labels = clip_source.training_batch(["c1", "c2"], draws)
    assert labels.tolist() == [5, 0] and labels.dtype == np.int32
    assert batch["clip"].dtype == batch["joints"].dtype == np.float32
    assert shown(batch["clip"][:1], "c1") == [([0, 9, 19], (1, 4))]
    assert shown(batch["clip"][1:], "c2") == [([0, 0, 1], (0, 4))]
    np.testing.assert_allclose(batch["joints"][0], expected_joints([0, 9, 19], (1, 4)), atol=1e-6)
    # Joint 10 of c1: (40, t) in the video, (4, t / 5) in the stored picture, 3 pixels right of the corner: 3 / 8 · 2 - 1. Its
    # rows 0, 1.8 and 3.8 lie above the crop, whose first row is 4: on its border.
    np.testing.assert_allclose(batch["joints"][0, :, 0, 10], [[-0.25, -1]] * 3, atol=1e-6)


def test_joints_lie_where_the_picture_shows_them(clip_source):
    """The red and green values of the pixel under a joint are its place in the stored picture."""
    batch, _ = clip_source.training_batch(["c1"], np.array([[0.5, 0.5, 0.99, 0.3, 0.0]]))
    for frame in range(3):
        for j in (5, 10, 20):
            x, y = (batch["joints"][0, frame, 0, j] + 1) / 2 * SIZE
            red, green, _ = (batch["clip"][0, frame, int(y), int(x)] + 1) * 127.5
            assert abs(red - np.floor(4 * j / 10)) < 1e-3
            assert abs(green - np.floor([3, 9, 19][frame] / 5)) < 1e-3


def test_test_rows_are_the_same_draws_for_all_clips(clip_source):
    batch, labels = clip_source.test_batch(["c1", "c3", "c1"])
    assert labels.tolist() == [5, 5, 7, 7, 5, 5]
    table = uniforms(4, 2, 5)
    for first, clip in ((0, "c1"), (2, "c3"), (4, "c1")):
        views = shown(batch["clip"][first : first + 2], clip)
        expected, _ = clip_source.training_batch([clip, clip], table)
        np.testing.assert_array_equal(batch["clip"][first : first + 2], expected["clip"])
        np.testing.assert_array_equal(batch["joints"][first : first + 2], expected["joints"])
        for (frames, corner), joints in zip(views, batch["joints"][first : first + 2], strict=True):
            np.testing.assert_allclose(joints, expected_joints(frames, corner), atol=1e-6)
    corners = [
        [corner for _, corner in shown(batch["clip"][first : first + 2], clip)] for first, clip in ((0, "c1"), (2, "c3"))
    ]
    assert corners[0] == corners[1] and corners[0][0] != corners[0][1]


def test_images_as_large_as_the_crops_have_one_place(poses):
    config = RGBClipConfig(frames=3, image_size=STORED, views=2)
    source = RGBClipSource(Clips(LENGTHS), poses, LABELS, config, layout=KINECT_V2)
    batch, _ = source.training_batch(["c1"], np.array([[0, 0, 0, 0.99, 0.99]]))
    assert batch["clip"].shape == (1, 3, STORED, STORED, 3)
    np.testing.assert_allclose(batch["joints"][0, 2, 0, 10], [40 / 120 * 2 - 1, 13 / 60 * 2 - 1], atol=1e-6)


@pytest.mark.parametrize(
    ("clips", "place"),
    [
        # Joint 10 in frame 0 is at (40, 0).
        ({"boxes": (20, -10, 80, 50), "box": "clip"}, ((40 - 20) / 60, 10 / 60)),
        # A video of 12x12 whose skeleton refers to 120x60, and one of 120x60 whose skeleton refers to 240x30.
        ({"boxes": (0, 0, 12, 12), "pixel_size": [120, 60]}, (40 / 120, 0)),
        ({"pixel_size": [240, 30]}, (40 / 240, 0)),
    ],
)
def test_boxes_and_pixel_sizes(poses, clips, place):
    config = RGBClipConfig(frames=1, image_size=STORED)
    source = RGBClipSource(Clips(LENGTHS, **clips), poses, LABELS, config, layout=KINECT_V2)
    joints = source.training_batch(["c1"], np.zeros((1, 3)))[0]["joints"]
    np.testing.assert_allclose(joints[0, 0, 0, 10], np.array(place) * 2 - 1, atol=1e-6)


def test_training_chooses_one_of_the_further_views_and_the_first_ones_are_the_tests(map_source):
    check_cached_views(map_source)


def test_no_pose_is_read_for_clips_alone(clip_source, map_source, poses, monkeypatch):
    draws = np.random.default_rng(0).random((2, 5))
    whole, _ = clip_source.training_batch(["c1", "c3"], draws)
    monkeypatch.setattr(PoseCache, "pixels", None)
    monkeypatch.setattr(Clips, "boxes", None)
    without = RGBClipSource(Clips(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    assert without.inputs == ("clip",) and without.clip_ids == ("c3", "c1", "c2")
    for source in (RGBClipSource(Clips(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2).select(["clip"]), without):
        assert (source.inputs, source.draws, set(source.shapes)) == (("clip",), 5, {"clip"})
        batch, _ = source.training_batch(["c1", "c3"], draws)
        assert set(batch) == {"clip"} == set(source.test_batch(["c1"])[0])
        np.testing.assert_array_equal(batch["clip"], whole["clip"])
    with pytest.raises(ConfigError, match=r"found 'joints', expected one of clip\)\. Give a pose cache for joints"):
        without.select(["clip", "joints"])
    with pytest.raises(ConfigError, match=r"found 'map', .*GlimpseMapSource"):
        clip_source.select(["map"])
    with pytest.raises(ConfigError, match=r"found 'clip', .*RGBClipSource"):
        map_source.select(["clip"])
    monkeypatch.setattr(GlimpseMapCache, "joints", None)
    assert set(map_source.select(["map", "context"]).test_batch(["c1"])[0]) == {"map", "context"}


# Through tf.data ------------------------------------------------------------------------------------------------------------


def test_training_batches_are_reproducible(source):
    check_training_batches(source)


def test_evaluation_batches_hold_every_view_once(source):
    check_evaluation_batches(source)


# Errors ------------------------------------------------------------------------------------------------------------


def test_unknown_clips_labels_and_numbers(source):
    check_unknown_clips_labels_and_numbers(source)


def test_a_clip_that_is_in_no_cache():
    source = RGBClipSource(Clips(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    with pytest.raises(CacheError, match="the cache of clips does not hold clip c9"):
        source.test_batch(["c9"])


def test_caches_that_do_not_fit(poses, maps):
    with pytest.raises(CacheError, match=r"other options: layout \(found kinect_v2, expected sbu_15\)"):
        RGBClipSource(Clips(LENGTHS), poses, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"glimpse maps was made .*: layout \(found kinect_v2, expected sbu_15\)"):
        GlimpseMapSource(maps, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"cache of clips disagree .* clip c2 \(found 8 frames .* 2 frames with poses"):
        RGBClipSource(Clips(LENGTHS | {"c2": 8}), poses, LABELS, CONFIG, layout=KINECT_V2)
    with pytest.raises(CacheError, match=r"smaller than the crops \(found 12, expected at least 224"):
        RGBClipSource(Clips(LENGTHS), poses, LABELS, RGBClipConfig(), layout=KINECT_V2)


@pytest.mark.parametrize(("name", "value", "found"), [("frames", 8, 3), ("image_size", 9, 8), ("views", 1, 2), ("seed", 5, 4)])
def test_maps_of_other_views_are_refused(maps, name, value, found):
    config = RGBClipConfig(**{"frames": 3, "image_size": SIZE, "views": 2, "seed": 4, name: value})
    with pytest.raises(CacheError, match=rf"glimpse maps was made .*: {name} \(found {found}, expected {value}"):
        GlimpseMapSource(maps, LABELS, config, layout=KINECT_V2)


def test_joints_that_cannot_be_placed(poses):
    clips = Clips(LENGTHS, box="clip", pixel_size=[1920, 1080])
    source = RGBClipSource(clips, poses, LABELS, CONFIG, layout=KINECT_V2)
    assert source.select(["clip"]).test_batch(["c1"])[0]["clip"].shape == (2, 3, SIZE, SIZE, 3)
    with pytest.raises(
        CacheError, match=r"clips, clip c1: joints cannot be placed.*found box clip, expected whole.*--box whole"
    ):
        source.test_batch(["c1"])
