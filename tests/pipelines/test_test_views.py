"""Views of test sub-sequences: rows in order, tensors of the view's own joints, hands with their joints."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences
from keras_actrec.skeletons.views import VIEWS, view
from tests.pipelines.caches import clip_joints, write_feature_cache, write_pose_cache

LENGTHS = {"c1": 40, "c2": 23}  # c2 has one person
LABELS = {"c1": 5, "c2": 0}
SAMPLING = SamplingConfig(subsequences=3)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> SubsequenceSource:
    folder = tmp_path_factory.mktemp("caches")
    caches = write_pose_cache(folder / "poses", LENGTHS, SAMPLING), write_feature_cache(folder / "hands", LENGTHS)
    return SubsequenceSource(*caches, LABELS, PoseTensorConfig(), SAMPLING)


def test_rows_are_those_of_the_views_one_after_the_other(source):
    batch, labels = source.with_views(VIEWS).test_batch(["c1", "c2"])
    assert labels.tolist() == [5] * 12 + [0] * 12 and source.with_views(VIEWS).test_rows == 12
    rows = batch["pose"].reshape(2, 4, 3, 20, 300, 3)
    for i, clip in enumerate(LENGTHS):
        for j, name in enumerate(VIEWS):
            joints = view(clip_joints(clip, LENGTHS[clip]), KINECT_V2, name)
            frames = test_subsequences(LENGTHS[clip], SAMPLING)
            expected = clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig())[frames]
            np.testing.assert_allclose(rows[i, j], expected, atol=1e-5)
    assert not np.array_equal(rows[0, 0], rows[0, 2]), "two people can be swapped"
    np.testing.assert_allclose(rows[1, 0], rows[1, 2], atol=1e-6, err_msg="one person cannot")


def test_hands_follow_their_joints(source):
    hands = source.with_views(VIEWS).test_batch(["c1", "c2"])[0]["hands"].reshape(2, 4, 3, 20, 4, 2048)
    number = np.where(hands[..., 2] > 0, hands[..., 1], 3)  # The second value is the hand's number; hand 3 is absent.
    expected = {
        0: [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)],
        1: [(0, 1, 2, 3), (1, 0, 3, 2), (0, 1, 2, 3), (1, 0, 3, 2)],
    }
    for clip, orders in expected.items():
        for index, order in enumerate(orders):
            assert (number[clip, index] == np.array(order)).all()


def test_the_plain_view_is_what_it_was_and_stays_with_the_first_source(source):
    changed = source.with_views(VIEWS)
    assert (source.test_rows, source.views, changed.views) == (3, ("plain",), VIEWS)
    plain, all_views = (s.test_batch(["c1"])[0] for s in (source, changed))
    for name in ("pose", "hands"):
        np.testing.assert_array_equal(plain[name], all_views[name][:3])
    assert changed.select(("pose",)).test_rows == 12


def test_one_person_s_tensors_have_no_swapped_view(tmp_path):
    tensor = PoseTensorConfig(people=1)
    poses = write_pose_cache(tmp_path, LENGTHS, SAMPLING, tensor)
    source = SubsequenceSource(poses, None, LABELS, tensor, SAMPLING)
    assert source.with_views(("plain", "mirrored")).test_rows == 6
    with pytest.raises(ConfigError, match="pose tensors of one person have no swapped view"):
        source.with_views(VIEWS)
