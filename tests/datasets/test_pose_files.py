"""NTU text and NumPy archives, and what is not a pose file."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import COCO_17, SBU_15
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.datasets.poses import assert_flat, metric, points, refused


def test_ntu_text(tmp_path):
    joints = metric(25)
    write_ntu_skeleton(tmp_path / "a.skeleton", SkeletonSequence(joints, KINECT_V2))
    sequence = read_pose_file(tmp_path / "a.skeleton", layout=KINECT_V2)
    np.testing.assert_allclose(sequence.joints, joints, rtol=1e-6)  # The text holds seven digits.
    refused(tmp_path / "a.skeleton", "another layout.*found kinect_v2, expected coco_17", layout=COCO_17)


def test_npz(tmp_path):
    joints = metric(15).astype(np.float64)
    joints[1, 0, 4, 2] = np.inf
    np.savez(tmp_path / "a.npz", joints=joints, pixels=joints[..., :2] * 100, layout="sbu_15", notes="kept out")
    sequence = read_pose_file(tmp_path / "a.npz")
    assert sequence.layout is SBU_15 and sequence.body_ids == () and sequence.joints.dtype == np.float32
    assert np.isnan(sequence.joints[1, 0, 4]).all() and np.isnan(sequence.joints).sum() == 3, "one unknown coordinate: no point"
    np.testing.assert_array_equal(sequence.joints[2], joints[2].astype(np.float32))
    np.testing.assert_array_equal(sequence.pixels[2], (joints[2, ..., :2] * 100).astype(np.float32))


def test_npz_of_one_person_in_metres(tmp_path):
    joints = metric(20)[:, 0]
    np.savez(tmp_path / "a.npz", joints=joints, layout="kinect_v1")
    sequence = read_pose_file(tmp_path / "a.npz")
    np.testing.assert_array_equal(sequence.joints[:, 0], joints)
    assert sequence.people == 1 and sequence.pixels is None


@pytest.mark.parametrize("shape", [(2, 1, 17, 2), (2, 17, 2)], ids=["people", "one person"])
def test_npz_in_pixels(tmp_path, shape):
    joints = np.array([points(10), points(20)]).reshape(shape)
    joints[1, ..., 3, 0] = np.nan
    np.savez_compressed(tmp_path / "a.npz", joints=joints)
    sequence = read_pose_file(tmp_path / "a.npz", layout=COCO_17)
    assert_flat(sequence, 0, 0, points(10))
    assert np.isnan(sequence.joints[1, 0, 3]).all() and np.isnan(sequence.pixels[1, 0, 3]).all()


def test_npz_without_people(tmp_path):
    np.savez(tmp_path / "a.npz", joints=np.zeros((4, 0, 17, 2)), layout="coco_17")
    assert read_pose_file(tmp_path / "a.npz").joints.shape == (4, 0, 17, 3)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"poses": metric(17)}, "no joints.*found poses"),
        ({"joints": metric(17)}, "unknown joint layout.*found none.*coco_17"),
        ({"joints": metric(17), "layout": "coco"}, "unknown joint layout.*found 'coco'"),
        ({"joints": metric(17), "layout": np.arange(3)}, "unknown joint layout"),
        ({"joints": metric(18), "layout": "coco_17"}, r"wrong shape or type.*\(3, 2, 18, 3\).*joints of coco_17"),
        ({"joints": metric(17)[0, 0], "layout": "coco_17"}, "wrong shape or type"),
        ({"joints": metric(17)[..., :1], "layout": "coco_17"}, "wrong shape or type"),
        ({"joints": metric(17).astype(str), "layout": "coco_17"}, "wrong shape or type"),
        ({"joints": metric(17)[:0], "layout": "coco_17"}, "no frame"),
        ({"joints": metric(17), "pixels": metric(17)[:2, ..., :2], "layout": "coco_17"}, "pixels do not fit"),
        ({"joints": metric(17), "pixels": metric(17), "layout": "coco_17"}, "pixels: an array has the wrong shape"),
        ({"joints": np.array([{"a": 1}]), "layout": "coco_17"}, "cannot be read.*allow_pickle"),
    ],
)
def test_bad_npz(tmp_path, arrays, match):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", match)


@pytest.mark.parametrize("kept", [0, 10, 400, -30])
def test_cut_npz(tmp_path, kept):
    np.savez(tmp_path / "a.npz", joints=metric(17), layout="coco_17")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:kept])
    refused(tmp_path / "a.npz", "cannot be read")


def test_a_single_array_is_no_archive(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, metric(17))
    refused(tmp_path / "a.npz", "not a NumPy archive")


@pytest.mark.parametrize("name", ["a.json", "a.npz", "a.skeleton"])
def test_a_file_that_is_not_there(tmp_path, name):
    refused(tmp_path / name, "No such file")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.csv").touch()
    refused(tmp_path / "a.csv", r"not a pose file.*'.csv'.*\.skeleton, \.npz, \.json")
