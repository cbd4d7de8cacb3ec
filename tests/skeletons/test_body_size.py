from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.skeletons.body_size import body_size
from tests.skeletons.bodies import person

nan = np.nan
# Mean (1, 1, 3), squared distances 2, 5, 5: size √(12 / 3) = 2.
BODY = np.array([(0, 0, 3), (3, 0, 3), (0, 3, 3)], np.float32)


def clip(frames: int, *, first: bool = True, second: bool = False) -> np.ndarray:
    joints = np.full((frames, 2, 3, 3), nan, np.float32)
    joints[:, [person for person, there in enumerate((first, second)) if there]] = BODY
    return joints


@pytest.fixture(params=[np, keras.ops], ids=["numpy", "keras"])
def size(request):
    """`body_size` in NumPy and in Keras, as a float."""
    return lambda joints: float(body_size(request.param.array(joints, dtype="float32"), xp=request.param))


def test_by_hand(size):
    assert size(clip(4)) == pytest.approx(2)
    assert size(clip(4) * np.float32(50) + np.float32(1000)) == pytest.approx(100), "any unit, any place"


def test_frames_count_alike_and_unknown_ones_do_not(size):
    joints = clip(4)
    joints[1] *= 4  # 8
    joints[3] = nan
    assert size(joints) == pytest.approx((2 + 8 + 2) / 3)


def test_only_known_joints_count(size):
    # Two joints at a distance of √18: each is half of it away from their mean.
    joints = clip(2)
    joints[:, 0, 0, 1] = nan
    assert size(joints) == pytest.approx(np.sqrt(18) / 2)


def test_a_frame_with_a_single_joint_says_nothing(size):
    joints = clip(3)
    joints[0, 0, 1:] = nan
    assert size(joints) == pytest.approx(2)


def test_the_second_person_is_measured_where_the_first_cannot_be(size):
    joints = clip(3, second=True)
    joints[:, 1] *= 3
    assert size(joints) == pytest.approx(2)
    joints[1:, 0] = nan
    assert size(joints) == pytest.approx(2), "one frame of the first person is enough"
    joints[0, 0, 1:] = nan
    assert size(joints) == pytest.approx(6)


@pytest.mark.filterwarnings("error")
def test_nothing_to_measure_is_zero(size):
    assert size(clip(3, first=False)) == 0
    point = clip(3)
    point[:, 0] = (1, 2, 3)
    assert size(point) == 0


def test_a_standing_person_is_about_half_a_metre(size):
    joints = np.stack([person(20, waving=0.3), np.full((20, 25, 3), nan)], axis=1)
    assert 0.4 < size(joints) < 0.5
