"""Rooms, bodies and objects as they appear in frames."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.synthetic.appearance import Appearance
from keras_actrec.synthetic.cameras import ntu_camera
from keras_actrec.synthetic.choreography import Style, perform
from keras_actrec.synthetic.kinematics import BodyShape, forward_kinematics
from keras_actrec.synthetic.objects import draw_object
from keras_actrec.synthetic.render import Actor, Held, render_clip
from keras_actrec.synthetic.scenes import render_background

GREEN = (0.0, 255.0, 0.0)
LOOK = Appearance(
    skin=GREEN, hair=(9, 9, 9), shirt=(200, 0, 0), stripe=(0, 0, 0), trousers=(0, 0, 200), shoes=(9, 9, 9), pattern="plain",
    long_sleeves=True,
)  # fmt: skip


def test_the_same_room_is_drawn_again_and_textured():
    camera = ntu_camera(1, 1, 320, 180)
    first, second, other = render_background(camera, 3), render_background(camera, 3), render_background(camera, 4)
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.3
    floor = first[-20:].reshape(-1, 3)
    assert floor.std(axis=0).min() > 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_hand_pixels_lie_on_the_drawn_hand(number):
    camera = ntu_camera(1, number, 960, 540)
    performance = perform("clap", (Style(),), 6, np.random.default_rng(1))
    joints = camera.to_camera(forward_kinematics(BodyShape(), performance.postures[0]))
    background = np.full((540, 960, 3), 128, np.uint8)
    frames = list(render_clip((Actor(joints, BodyShape(), LOOK),), camera, background, np.random.default_rng(0)))
    assert len(frames) == 6 and (background == 128).all()
    # The hand nearer to the camera is covered by nothing: its pixel has the skin's green.
    for frame, body in zip(frames, joints, strict=True):
        hand = min(KINECT_V2.hands, key=lambda joint: body[joint, 2])
        x, y = np.round(camera.project(body[hand])).astype(int)
        blue, green, red = frame[y, x].astype(int)
        assert green > 120 and green > blue + 60 and green > red + 60


def test_lamps_are_lit_in_their_frames_only():
    camera = ntu_camera(1, 1, 960, 540)
    performance = perform("left_then_right", (Style(),), 8, np.random.default_rng(1))
    joints = camera.to_camera(forward_kinematics(BodyShape(), performance.postures[0]))
    held = tuple(Held("lamp", hand, 0.0, performance.acting[:, i]) for i, hand in enumerate(KINECT_V2.hands))
    background = np.full((540, 960, 3), 128, np.uint8)
    actor = Actor(joints, BodyShape(), LOOK, held)
    brightness = np.zeros((8, 2))
    for index, frame in enumerate(render_clip((actor,), camera, background, np.random.default_rng(0))):
        for side, hand in enumerate(KINECT_V2.hands):
            x, y = np.round(camera.project(joints[index, hand])).astype(int)
            brightness[index, side] = frame[y - 6 : y + 1, x - 5 : x + 6].mean()
    lit = brightness > 150
    np.testing.assert_array_equal(lit, performance.acting)
    assert brightness[~lit].max() < 90


def test_objects_fill_much_of_a_hand_crop_and_differ_in_colour():
    means = {}
    for name in ("cup", "phone", "book"):
        crop = np.full((50, 50, 3), 128, np.uint8)
        draw_object(crop, name, np.array([25.0, 25.0]), 540.5 / 3.0)
        drawn = (crop != 128).any(axis=2)
        assert 0.15 < drawn.mean() < 0.8
        assert not drawn[[0, -1]].any() and not drawn[:, [0, -1]].any()  # and fit into it
        means[name] = crop[drawn].mean(axis=0)
    for a, b in (("cup", "phone"), ("cup", "book"), ("phone", "book")):
        assert np.linalg.norm(means[a] - means[b]) > 60


def test_an_object_outside_the_frame_does_no_harm():
    frame = np.full((40, 40, 3), 128, np.uint8)
    draw_object(frame, "lamp", np.array([-300.0, 20.0]), 180.0, lit=True)
    assert (frame == 128).all()
    with pytest.raises(ConfigError, match="no such object"):
        draw_object(frame, "sword", np.zeros(2), 180.0)


@pytest.mark.parametrize("shift", [(0, 0, -2.0), (4.0, 0, 0), (-4.0, 0, 0), (0, -3.0, 0), (0, 4.0, 0)])
def test_a_body_partly_or_wholly_outside_the_picture_is_drawn_without_error(shift):
    camera = ntu_camera(1, 1, 320, 180)
    performance = perform("clap", (Style(),), 8, np.random.default_rng(1))
    joints = camera.to_camera(forward_kinematics(BodyShape(), performance.postures[0])) + shift
    background = np.full((180, 320, 3), 128, np.uint8)
    frames = list(render_clip((Actor(joints, BodyShape(), LOOK),), camera, background, np.random.default_rng(0)))
    assert {frame.shape for frame in frames} == {(180, 320, 3)}
