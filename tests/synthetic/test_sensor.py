"""Measurement noise and the faults of skeleton files."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.synthetic.cameras import ntu_camera
from keras_actrec.synthetic.choreography import Style, perform
from keras_actrec.synthetic.kinematics import BodyShape, forward_kinematics
from keras_actrec.synthetic.sensor import NOISE, measure

CAMERA = ntu_camera(1, 1, 960, 540)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    performance = perform("clap", (Style(),), 24, np.random.default_rng(2))
    return CAMERA.to_camera(forward_kinematics(BodyShape(), performance.postures[0]))[:, None]


def test_noise_is_small_and_pixels_belong_to_the_joints(truth):
    before = truth.copy()
    sequence = measure(truth, CAMERA, np.random.default_rng(0), faults=False)
    np.testing.assert_array_equal(truth, before)
    tracked = sequence.tracking == 2
    assert (sequence.joints - truth)[tracked].std() == pytest.approx(NOISE, rel=0.1)
    np.testing.assert_allclose(CAMERA.project(sequence.joints), sequence.pixels, atol=0.01)
    assert set(np.unique(sequence.tracking)) == {1, 2} and tracked.mean() > 0.9
    assert 72057594037930000 <= sequence.body_ids[0] < 72057594037940000


def test_bone_lengths_are_constant_within_noise(truth):
    joints = measure(truth, CAMERA, np.random.default_rng(0), faults=False).joints
    for parent, child in KINECT_V2.bones:
        # Noise of both ends, three times as large where inferred: 5 standard deviations of a single value.
        assert np.linalg.norm(joints[:, :, parent] - joints[:, :, child], axis=-1).std() < 5 * NOISE


def test_without_faults_every_body_is_always_there(truth):
    for seed in range(12):
        assert measure(truth, CAMERA, np.random.default_rng(seed), faults=False).present.all()


def test_faults_occur_and_leave_the_person_recognisable(truth):
    kinds = set()
    for seed in range(40):
        sequence = measure(truth, CAMERA, np.random.default_rng(seed), faults=True)
        life = sequence.present.sum(axis=0)
        person = int(life.argmax())
        assert life[person] >= 22  # a gap has at most two frames
        if life[person] < 24:
            kinds.add("gap")
            assert sequence.present[[0, -1], person].all()
        if sequence.people == 2:
            kinds.add("false body last" if person == 0 else "false body first")
            other = sequence.joints[:, 1 - person]
            extent = np.nanmax(other, axis=(0, 1)) - np.nanmin(other, axis=(0, 1))
            assert life[1 - person] <= 6 and extent[0] > 2 * extent[1]
            assert np.nanstd(other, axis=0).max() < 0.01
        assert len(set(sequence.body_ids)) == sequence.people
    assert kinds == {"gap", "false body last", "false body first"}
