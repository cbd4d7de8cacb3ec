from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.datasets.pose_tracks import Person, join_frames
from keras_actrec.errors import SkeletonFormatError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.datasets.poses import starts

STICK = SkeletonLayout("stick", ("a", "b"), (-1, 0), (0, 1), ((0, 1),), (("torso", (0, 1)),))


def stick(x: float, body_id: int | None = None, b: float | None = None) -> Person:
    """Joint a at (x, 0, 0), joint b at (b, 0, 0), one to the right unless given."""
    return Person(np.array([[x, 0, 0], [x + 1 if b is None else b, 0, 0]]), None, body_id)


def joined(*frames: list[Person]) -> SkeletonSequence:
    return join_frames(frames, STICK, file="a.json")


def test_people_are_followed_whatever_their_order():
    sequence = joined([stick(0), stick(10)], [stick(9), stick(1)], [stick(2), stick(8)])
    assert starts(sequence) == [[0, 10], [1, 9], [2, 8]] and sequence.body_ids == () and sequence.pixels is None


def test_the_nearest_pair_goes_first():
    # Person 3 is nearer to the track at 0 (3) than to the one at 10 (7), but -1 is nearer still, so 3 takes what is left.
    assert starts(joined([stick(0), stick(10)], [stick(3), stick(-1)])) == [[0, 10], [-1, 3]]


def test_a_track_waits_where_it_was_last_seen():
    assert starts(joined([stick(0), stick(10)], [stick(0)], [stick(10)])) == [[0, 10], [0, None], [None, 10]]


def test_the_distance_is_over_joints_known_in_both():
    # Joint b of the first person goes from unknown to far away: joint a alone decides.
    first = [stick(0, b=np.nan), stick(4)]
    assert starts(joined(first, [stick(3), stick(0.5, b=50)])) == [[0, 4], [0.5, 3]]


def test_no_joint_known_in_both():
    a, b = stick(0, b=np.nan), Person(np.array([[np.nan] * 3, [7, 0, 0]]))
    sequence = joined([a], [b])
    assert sequence.people == 1, "the only track takes the only person"
    np.testing.assert_array_equal(sequence.present, [[True], [True]])


def test_false_detections_do_not_come_first():
    assert starts(joined([stick(90), stick(0)], [stick(1)], [stick(2)])) == [[0, 90], [1, None], [2, None]]


def test_people_with_and_without_ids():
    sequence = joined([stick(0, 5), stick(10)], [stick(10.5), stick(0.5, 5)], [stick(11, 5)])
    assert starts(sequence) == [[0, 10], [0.5, 10.5], [11, None]] and sequence.body_ids == (5, 6)


def test_nobody_is_there():
    unknown = Person(np.full((2, 3), np.nan), body_id=1)
    assert joined([], [unknown]).joints.shape == (2, 0, 2, 3)


def test_no_frame_and_two_of_the_same():
    with pytest.raises(SkeletonFormatError, match=r"a\.json: the clip has no frame"):
        joined()
    with pytest.raises(SkeletonFormatError, match=r"a\.json, frame 1: the same person is in a frame twice .found id 2"):
        joined([stick(0, 2)], [stick(0, 2), stick(1, 2)])


def test_pixels_come_and_go():
    """One metre apart, or 100 pixels: where one of the two has no pixels, metres decide."""
    with_pixels = [Person(stick(x).joints, np.full((2, 2), 100.0 * x)) for x in (0, 10)]
    sequence = joined(with_pixels, [stick(9), stick(1)])
    assert starts(sequence) == [[0, 10], [1, 9]]
    np.testing.assert_array_equal(sequence.pixels[0, 1], np.full((2, 2), 1000))
    assert np.isnan(sequence.pixels[1]).all()


def test_the_place_decides_where_joints_do_not_tell():
    frames = [[Person(stick(0).joints, place=np.full((2, 2), place)) for place in places] for places in ((0, 5), (4, 1))]
    frames[1][0].joints[:] += 7
    assert starts(joined(*frames)) == [[0, 0], [0, 7]]
