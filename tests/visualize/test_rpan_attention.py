"""RPAN's attention on frames: what is drawn where, in which colours, and what the panel says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.visualize.rpan_attention import (
    PART_COLOURS,
    PoseAttention,
    annotate_clip,
    annotate_frame,
    draw_attention,
    draw_joints,
    pose_attention,
)

CLASSES = ("wave", "clap")
RANKING = [("wave", 0.7), ("clap", 0.3)]
JOINTS, GRID = len(JHMDB_15), (4, 8)
GREY = 90
PARTS = {"torso": range(7), "elbow": (7, 8), "knee": (9, 10), "wrist": (11, 12), "ankle": (13, 14)}
"""Joints of each part in JHMDB's order."""
TILES = {name: slice(490 + 93 * place, 490 + 93 * place + 88) for place, name in enumerate(PART_COLOURS)}
"""Columns of the panel where a part has its small map."""


def outputs(frames, *, maps=None, joints=None, steps=None) -> dict[str, np.ndarray]:
    """What `classify_clip` gives: by default equal attention everywhere, and joints in a row from left to right."""
    frames = np.array(frames)
    uniform = np.full((*frames.shape, JOINTS, *GRID), 1 / 32)
    row = np.stack([np.linspace(-0.8, 0.8, JOINTS), np.zeros(JOINTS)], axis=1)
    return {
        "frames": frames,
        "step_logits": np.zeros((*frames.shape, 2)) if steps is None else np.array(steps, float),
        "attention": uniform if maps is None else maps,
        "joints": np.tile(row, (*frames.shape, 1, 1)) if joints is None else joints,
    }


def seen(frames=((0, 2),), *, length=4, without=(), **fields) -> PoseAttention:
    found = {name: value for name, value in outputs(frames, **fields).items() if name not in without}
    return pose_attention(found, JHMDB_15, length=length)


def peaked(*places: tuple[int, int], base: float = 0.0) -> np.ndarray:
    """A map (K1, K2) with equal attention on some places, 1 in sum."""
    one = np.full(GRID, base)
    for place in places:
        one[place] += 1
    return one / one.sum()


def drawn(attention: PoseAttention, index: int = 0) -> np.ndarray:
    frame = np.full((100, 200, 3), GREY, np.uint8)
    return annotate_frame(
        frame, index=index, attention=attention, layout=JHMDB_15, class_names=CLASSES, ranking=RANKING
    )  # fmt: skip


def share_of(picture: np.ndarray, colour) -> float:
    return float((np.abs(picture.astype(int) - np.array(colour)).max(axis=-1) < 20).mean())


def changed(picture: np.ndarray) -> bool:
    """Whether something is drawn on a grey frame 200 wide, 960 once it is enlarged."""
    return bool((picture[:480] != GREY).any())


# What comes out of an export --------------------------------------------------------------------------------------------------


def test_outputs_of_an_export():
    found = seen([[0, 3], [3, 5]], length=7, steps=[[[0, 0], [np.log(3), 0]], [[1000, 0], [0, 0]]])
    np.testing.assert_array_equal(found.seen, [True, False, False, True, False, True, False])
    np.testing.assert_allclose(found.steps[0], [[0.5, 0.5], [0.75, 0.25]])
    np.testing.assert_allclose(found.steps[1, 0], [1, 0])  # large logits do not overflow
    assert found.looks(3) == [(0, 1), (1, 0)] and found.looks(1) == []
    assert {name: tuple(members) for name, members in found.parts} == {name: tuple(joints) for name, joints in PARTS.items()}


def test_a_single_map_is_of_no_part():
    one = seen(maps=np.full((1, 2, 1, *GRID), 1 / 32), without=("joints",))
    assert one.parts == () and one.joints is None and one.maps.shape[2] == 1
    none = seen(without=("attention", "joints"))
    assert none.maps is None and none.parts == ()


# Heat map ---------------------------------------------------------------------------------------------------------------------


def test_heat_map_is_reddest_where_the_mean_of_the_maps_is_highest():
    # One map on the left, two on the right: the right one weighs more.
    maps = np.stack([peaked((1, 1)), peaked((1, 6)), peaked((1, 6))])
    frame = np.full((80, 160, 3), GREY, np.uint8)
    picture, lowest = draw_attention(frame, maps)
    assert (frame == GREY).all(), "the caller's frame stays as it is"
    assert lowest == 0
    blue, _, red = (picture[..., channel].astype(int) for channel in range(3))
    redness = red - blue
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert 20 <= row < 40 and 120 <= column < 140
    assert redness[30, 30] > redness[30, 80] + 20, "the lower peak too differs from what is between"
    assert redness[70, 80] < 0, "blue where there is no attention"


def test_what_the_lowest_colour_stands_for():
    frame = np.zeros((80, 160, 3), np.uint8)
    assert draw_attention(frame, peaked((0, 0), base=1.0)[None])[1] == pytest.approx(0.5)
    uniform, lowest = draw_attention(frame, np.full((3, *GRID), 1 / 32))
    assert lowest == pytest.approx(1) and np.ptp(uniform.astype(int), axis=(0, 1)).max() == 0


# Joints -----------------------------------------------------------------------------------------------------------------------


def test_joints_are_dots_in_the_colour_of_their_part_joined_by_bones():
    joints = outputs([[0]])["joints"][0, 0]
    frame = np.full((200, 960, 3), GREY, np.uint8)
    picture = draw_joints(frame, joints, JHMDB_15, seen().parts)
    assert (frame == GREY).all()
    for name, members in PARTS.items():
        for joint in members:
            column = round((joints[joint, 0] + 1) / 2 * 960)
            assert share_of(picture[98:103, column - 2 : column + 3], PART_COLOURS[name]) == 1, JHMDB_15.joints[joint]
    lowered = joints.copy()
    lowered[:, 1] = np.linspace(-0.8, 0.8, JOINTS)
    parent, child = JHMDB_15.bones[-1]
    middle = (lowered[parent] + lowered[child] + 2) / 4 * [960, 200]
    column, row = np.rint(middle).astype(int)
    picture = draw_joints(frame, lowered, JHMDB_15, seen().parts)
    assert (picture[row - 2 : row + 3, column - 2 : column + 3] != GREY).any(), "a bone"


def test_bones_and_dots_stand_out_from_bright_and_dark_frames():
    joints = outputs([[0]])["joints"][0, 0]
    for grey in (0, 255):
        picture = draw_joints(np.full((200, 960, 3), grey, np.uint8), joints, JHMDB_15, seen().parts)
        assert (np.abs(picture.astype(int) - grey).max(axis=-1) > 100).sum() > 1500


def test_joints_of_several_parts_in_one_place_all_show():
    picture = draw_joints(np.zeros((200, 960, 3), np.uint8), np.zeros((JOINTS, 2)), JHMDB_15, seen().parts)
    for colour in PART_COLOURS.values():
        assert share_of(picture[70:130, 450:510], colour) > 0.01


def test_joints_that_are_absent_are_left_out():
    joints = np.full((JOINTS, 2), np.nan)
    joints[3] = 0.0
    picture = draw_joints(np.zeros((200, 960, 3), np.uint8), joints, JHMDB_15, seen().parts)
    rows, columns = np.nonzero(picture.any(axis=-1))
    assert len(rows) and np.abs(rows - 100).max() < 15 and np.abs(columns - 480).max() < 15


# Frames of the explanation ----------------------------------------------------------------------------------------------------


def test_a_small_frame_is_enlarged():
    assert drawn(seen()).shape == (480 + 150, 960, 3)
    portrait = annotate_frame(
        np.zeros((320, 240, 3), np.uint8), index=0, attention=seen(), layout=JHMDB_15, class_names=CLASSES, ranking=RANKING
    )  # fmt: skip
    assert portrait.shape == (960 + 150, 960, 3), "960 pixels high at most"
    assert share_of(portrait[:960, :110], (28, 28, 28)) == share_of(portrait[:960, 850:], (28, 28, 28)) == 1


def test_frames_that_no_view_looked_at_stay_as_they_are():
    options = {"attention": seen([[0, 2]]), "layout": JHMDB_15, "class_names": CLASSES, "ranking": RANKING}
    pictures = list(annotate_clip([np.full((100, 200, 3), GREY, np.uint8)] * 6, **options))
    assert len(pictures) == 4, "the clip is shorter than the video"
    assert [changed(picture) for picture in pictures] == [True, False, True, False]


def test_small_maps_show_each_part_by_itself():
    # Every part looks at a place of its own, from left to right.
    maps = np.empty((1, 1, JOINTS, *GRID))
    columns = {name: number + 1 for number, name in enumerate(PART_COLOURS)}
    for name, members in PARTS.items():
        maps[:, :, list(members)] = peaked((2, columns[name]))
    panel = drawn(seen([[0]], maps=maps))[480:]
    for name, tile in TILES.items():
        small = panel[26 + 22 : 92, tile].astype(int)  # a frame twice as wide as high: 44 pixels high
        column = (small[..., 2] - small[..., 0]).max(axis=0).argmax()
        assert column * 8 // small.shape[1] == columns[name], name
        assert share_of(panel[94:109, tile], PART_COLOURS[name]) > 0.005, "its name in its colour"


def test_the_caption_changes_with_the_look():
    # "look 1 of 2: clap 75 %" and "look 2 of 2: wave 75 %" differ, and a second view makes the line longer.
    steps = [[[0, np.log(3)], [np.log(3), 0]]]
    corner = (slice(480 + 128, None), slice(650, None))
    one, two = (drawn(seen(steps=steps), index)[corner] for index in (0, 2))
    assert (one != two).any()
    views = drawn(seen([[0, 2], [1, 3]], steps=steps * 2), 0)[corner]
    starts = [np.flatnonzero((picture > 150).any(axis=(0, 2))).min() for picture in (one, views)]
    assert starts[1] < starts[0] - 40


def test_of_several_looks_at_a_frame_the_first_is_drawn():
    maps = np.empty((2, 1, JOINTS, *GRID))
    maps[0], maps[1] = peaked((1, 1)), peaked((1, 6))
    both = drawn(seen([[0], [0]], maps=maps, without=("joints",)))[:480].astype(int)
    redness = both[..., 2] - both[..., 0]
    assert redness[180, 180] > 60 > redness[180, 780]


def test_maps_that_no_joint_taught_have_no_skeleton():
    taught = seen()
    with_joints, without = drawn(taught)[:480], drawn(replace(taught, joints=None))[:480]
    assert share_of(with_joints, PART_COLOURS["knee"]) > 0 == share_of(without, PART_COLOURS["knee"])
    title = (slice(480, 480 + 24), slice(490, 700))
    assert (drawn(taught)[title] != drawn(replace(taught, joints=None))[title]).any()


def test_models_with_one_map_or_none():
    one = seen(maps=peaked((1, 1))[None, None, None].repeat(2, axis=1), without=("joints",))
    picture = drawn(one)
    assert changed(picture) and share_of(picture[480 + 94 : 480 + 109, 490:], PART_COLOURS["knee"]) == 0
    none = drawn(seen(without=("attention", "joints")))
    assert not changed(none) and (none[480 + 128 :, 650:] > 150).any(), "only the caption"
