"""Forward kinematics against postures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.synthetic.kinematics import BodyShape, Posture, forward_kinematics, minimum_jerk, rotation

J = {name: index for index, name in enumerate(KINECT_V2.joints)}


def posture(frames: int = 1, **angles) -> Posture:
    shapes = {"place": (2,), "heading": (), "lean": (2,), "nod": (), "arms": (2, 4), "legs": (2, 2)}
    return Posture(**{k: np.broadcast_to(np.asarray(angles.get(k, 0.0), float), (frames, *s)) for k, s in shapes.items()})


def test_upright_body_with_hanging_arms():
    shape = BodyShape(height=1.8)
    joints = forward_kinematics(shape, posture())[0]
    # Ankle 0.039, shank 0.246, thigh 0.245 of the height, and the hip 1 cm below the pelvis' middle.
    assert joints[J["spine_base"], 1] == pytest.approx(1.8 * (0.039 + 0.246 + 0.245) + 0.01)
    assert joints[J["ankle_left"], 1] == pytest.approx(1.8 * 0.039)
    # The person's left is +x for someone who faces +z; the arm hangs straight down from the shoulder.
    assert joints[J["shoulder_left"], 0] == pytest.approx(1.8 * 0.105)
    arm = joints[J["shoulder_left"]] - joints[J["hand_left"]]
    np.testing.assert_allclose(arm, [0, 1.8 * (0.172 + 0.146 + 0.045), 0], atol=1e-9)


def test_raised_and_bent_arms():
    shape = BodyShape(height=1.0)
    # Left: 90° flexion points the straight arm forward. Right: hanging upper arm, elbow bent by 90°: forearm forward.
    joints = forward_kinematics(shape, posture(arms=[[90, 0, 0, 0], [0, 0, 0, 90]]))[0]
    np.testing.assert_allclose(joints[J["hand_left"]] - joints[J["shoulder_left"]], [0, 0, 0.172 + 0.146 + 0.045], atol=1e-9)
    np.testing.assert_allclose(joints[J["elbow_right"]] - joints[J["shoulder_right"]], [0, -0.172, 0], atol=1e-9)
    np.testing.assert_allclose(joints[J["hand_right"]] - joints[J["elbow_right"]], [0, 0, 0.146 + 0.045], atol=1e-9)


def test_abduction_moves_each_arm_outwards():
    joints = forward_kinematics(BodyShape(), posture(arms=[[0, 90, 0, 0], [0, 90, 0, 0]]))[0]
    left, right = joints[J["hand_left"]] - joints[J["shoulder_left"]], joints[J["hand_right"]] - joints[J["shoulder_right"]]
    assert left[0] > 0.5 and right[0] == pytest.approx(-left[0])
    assert left[1] == pytest.approx(0, abs=1e-9)


def test_heading_turns_to_the_left_and_place_moves():
    joints = forward_kinematics(BodyShape(), posture(heading=90.0, place=(0.5, -0.25)))[0]
    np.testing.assert_allclose(joints[J["spine_base"], [0, 2]], [0.5, -0.25])
    toes = joints[J["foot_left"]] - joints[J["ankle_left"]]
    assert toes[0] > 0.1 and toes[2] == pytest.approx(0, abs=1e-9)  # +x was the person's left


def test_bones_keep_their_length_and_the_lower_foot_stands_on_the_floor():
    rng = np.random.default_rng(0)
    angles = {"arms": rng.uniform(-40, 120, (9, 2, 4)), "legs": rng.uniform(0, 60, (9, 2, 2)), "lean": rng.normal(0, 9, (9, 2))}
    shape = BodyShape.sample(rng)
    joints = forward_kinematics(shape, posture(9, nod=rng.normal(0, 9, 9), heading=rng.uniform(0, 360, 9), **angles))
    for parent, child in KINECT_V2.bones:
        lengths = np.linalg.norm(joints[:, parent] - joints[:, child], axis=-1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)
    lower = joints[:, [J["ankle_left"], J["ankle_right"]], 1].min(axis=1)
    np.testing.assert_allclose(lower, 0.039 * shape.height)


def test_minimum_jerk():
    # 10 s³ - 15 s⁴ + 6 s⁵ at 1/4: 0.15625 - 0.05859375 + 0.005859375
    np.testing.assert_allclose(minimum_jerk(np.array([-1, 0, 0.25, 0.5, 1, 2])), [0, 0, 0.103515625, 0.5, 1, 1])


def test_rotations_follow_the_right_hand():
    np.testing.assert_allclose(rotation("z", 90.0) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation("x", 90.0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation("y", 90.0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="axis"):
        rotation("w", 1.0)
    with pytest.raises(ConfigError, match="metres"):
        BodyShape(height=172)
    with pytest.raises(ConfigError, match="girth"):
        BodyShape(girth=0.1)
    with pytest.raises(ConfigError, match="no part"):
        BodyShape().length("tail")
    good = posture(3)
    with pytest.raises(ConfigError, match="arms"):
        Posture(good.place, good.heading, good.lean, good.nod, good.arms[:2], good.legs)
