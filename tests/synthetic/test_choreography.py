"""What tells the classes apart, and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.synthetic.actions import SYNTHETIC_ACTIONS, ActionSpec, synthetic_class_names
from keras_actrec.synthetic.choreography import CHOREOGRAPHY, Style, perform
from keras_actrec.synthetic.kinematics import BodyShape, forward_kinematics

STILL = Style(sway=0.0)


def run(movement: str, frames: int = 30, people: int = 1, style: Style = STILL):
    return perform(movement, (style,) * people, frames, np.random.default_rng(5))


def test_all_three_kinds_and_one_and_two_people():
    assert {a.kind for a in SYNTHETIC_ACTIONS} == {"motion", "object", "order"}
    assert {a.people for a in SYNTHETIC_ACTIONS} == {1, 2}
    assert len(set(synthetic_class_names())) == len(SYNTHETIC_ACTIONS) == 9


def test_object_classes_share_one_movement_and_differ_in_the_object():
    objects = [a for a in SYNTHETIC_ACTIONS if a.kind == "object"]
    assert len({a.movement for a in objects}) == 1
    assert len({a.held for a in objects}) == len(objects)


def test_motion_classes_have_empty_hands():
    assert all(a.held == "" for a in SYNTHETIC_ACTIONS if a.kind == "motion")


@pytest.mark.parametrize("movement", CHOREOGRAPHY)
def test_shapes_and_determinism(movement):
    people = 2 if movement in ("approach", "step_back") else 1
    first, second = (run(movement, 17, people, Style()) for _ in range(2))
    assert len(first.postures) == people and first.acting.shape == (17, 2)
    for a, b in zip(first.postures, second.postures, strict=True):
        np.testing.assert_array_equal(a.arms, b.arms)
        assert np.abs(np.diff(a.arms, axis=0)).max() < 40  # degrees per frame: no jumps


def test_order_classes_mirror_each_other_in_time_and_one_lamp_is_always_lit():
    first, second = run("left_then_right"), run("right_then_left")
    np.testing.assert_array_equal(first.acting, second.acting[::-1])
    np.testing.assert_array_equal(first.acting.sum(axis=1), np.ones(30))
    assert first.acting[0].tolist() == [True, False] and first.acting[-1].tolist() == [False, True]
    # The sum over hands is the same in both classes at all times; the hands by themselves are not.
    raised = [p.postures[0].arms[:, :, 0] - p.postures[0].arms[:, :, 0].min() for p in (first, second)]
    left_first, right_first = (r.argmax(axis=0) for r in raised)
    assert left_first[0] < 15 <= left_first[1] and right_first[1] < 15 <= right_first[0]


def test_step_back_is_approach_played_in_reverse():
    approach, back = run("approach", people=2, style=Style()), run("step_back", people=2, style=Style())
    for forwards, backwards in zip(approach.postures, back.postures, strict=True):
        np.testing.assert_array_equal(forwards.place, backwards.place[::-1])
        np.testing.assert_array_equal(forwards.legs, backwards.legs[::-1])
    distance = np.linalg.norm(approach.postures[0].place - approach.postures[1].place, axis=1)
    assert distance[0] > 1.5 and distance[-1] < 1.0


def test_two_people_face_each_other():
    approach = run("approach", people=2)
    one, other = (forward_kinematics(BodyShape(), p)[0] for p in approach.postures)
    for body, partner in ((one, other), (other, one)):
        toes = body[KINECT_V2.index("foot_left")] - body[KINECT_V2.index("ankle_left")]
        towards = (partner - body)[KINECT_V2.root]
        cosine = toes[[0, 2]] @ towards[[0, 2]] / np.linalg.norm(toes[[0, 2]]) / np.linalg.norm(towards[[0, 2]])
        assert cosine > 0.95


def test_clapping_hands_meet_and_waving_hands_keep_their_distance():
    left, right = KINECT_V2.hands
    distances = {}
    for movement in ("clap", "wave_hands"):
        joints = forward_kinematics(BodyShape(), run(movement).postures[0])
        distances[movement] = np.linalg.norm(joints[:, left] - joints[:, right], axis=1)
    assert distances["clap"].min() < 0.15 and np.ptp(distances["clap"]) > 0.3
    assert np.ptp(distances["wave_hands"]) < 0.15


def test_the_acting_hand_reaches_the_head():
    performance = run("hand_to_head")
    joints = forward_kinematics(BodyShape(), performance.postures[0])
    hand = KINECT_V2.hands[int(performance.acting[0].argmax())]
    distance = np.linalg.norm(joints[:, hand] - joints[:, KINECT_V2.index("head")], axis=1)
    assert distance[0] > 0.5 and distance[-1] < 0.3


def test_unknown_values_are_refused():
    with pytest.raises(ConfigError, match="kind"):
        ActionSpec("a", "colour", "clap")
    with pytest.raises(ConfigError, match="movement"):
        ActionSpec("a", "motion", "fly")
    with pytest.raises(ConfigError, match="held"):
        ActionSpec("a", "object", "clap", held="sword")
    with pytest.raises(ConfigError, match="people"):
        ActionSpec("a", "motion", "clap", people=3)
