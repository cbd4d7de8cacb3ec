"""Northwestern-UCLA's own form with its images: which folder is a video, and person clips of them from end to end."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from tests.datasets.test_nucla import body, write_frames, write_json


def write_images(folder, numbers, size=(640, 480)):
    """A colour image of grey level 10 N for each frame N, and its depth in both forms; each file has its own time."""
    for number in numbers:
        image = np.full((size[1], size[0], 3), 10 * number, np.uint8)
        cv2.imwrite(str(folder / f"frame_{number}_tc_{900 + number}_rgb.jpg"), image)
        for name in ("depth.png", "depth_vis.jpg"):
            cv2.imwrite(str(folder / f"frame_{number}_tc_{1000 + number}_{name}"), 255 - image[::2, ::2, 0])


def test_the_video_is_the_folder_with_colour_images(tmp_path):
    write_images(write_frames(tmp_path, {1: body(0)}, "view_1/a01_s01_e00"), [1])
    depth = write_frames(tmp_path, {1: body(0)}, "view_2/a01_s01_e00")
    write_images(depth, [1])
    (depth / "frame_1_tc_901_rgb.jpg").unlink()
    write_json(tmp_path, "a01_s01_e00_v03")
    videos = {record.clip_id: record.video for record in NorthwesternUCLA(tmp_path).records}
    assert videos == {
        "a01_s01_e00_v01": tmp_path / "view_1/a01_s01_e00", "a01_s01_e00_v02": None, "a01_s01_e00_v03": None
    }  # fmt: skip


@pytest.fixture(scope="module")
def person_clips(tmp_path_factory):
    """Poses and person clips of four clips: whole, with an image more; without image 9; without images; in JSON form."""
    place = tmp_path_factory.mktemp("images")
    frames = {number: standing(0.1 * number) for number in (2, 9, 10)}
    write_images(write_frames(place / "data", frames, "view_1/a01_s01_e00"), [2, 3, 9, 10])
    write_images(write_frames(place / "data", frames, "view_2/a01_s01_e00"), [2, 10])
    write_frames(place / "data", frames, "view_3/a01_s01_e00")
    write_json(place / "data", "a01_s02_e00_v01")
    dataset = NorthwesternUCLA(place / "data")
    extract_poses(dataset, place / "poses", progress=False)
    report = extract_person_clips(dataset, place / "poses", place / "people", crop=PersonCropConfig(32), progress=False)
    return place, report


def standing(x: float) -> list[str]:
    """Joint j at (x, (j - 10) / 20, 2): a metre high in the middle of the image."""
    return ["60", *(f"{x:g},{(joint - 10) / 20:g},2,2" for joint in range(20))]


def test_person_clips_of_the_data_set_s_own_form(person_clips):
    place, report = person_clips
    assert (report.done, report.crops) == (1, 3)
    with open_person_clips(place / "people") as clips:
        assert dict(clips.lengths) == {"a01_s01_e00_v01": 3}
        images, boxes = clips.images("a01_s01_e00_v01", np.arange(3)), clips.boxes("a01_s01_e00_v01")
    assert np.round(images.mean(axis=(1, 2, 3)) / 10).tolist() == [2, 9, 10]
    # x: 0.2 to 1 m, so 320 + 531.15 · (0.1 to 0.5); y: 0.45 to -0.5 m, so 240 + 531.15 · (-0.225 to 0.25): the longer side,
    # 252.3, with margins of 0.15 on both sides is 328 pixels about (479.3, 246.6).
    assert (boxes == [315, 83, 643, 411]).all()


def test_clips_without_a_fitting_video_are_left_out_with_the_reason(person_clips):
    _, report = person_clips
    reasons = {clip.clip_id: clip.reason for clip in report.left_out}
    assert list(reasons) == ["a01_s01_e00_v02", "a01_s01_e00_v03", "a01_s02_e00_v01"]
    assert "view_2/a01_s01_e00, frame_9: a frame of the skeleton has no colour image" in reasons["a01_s01_e00_v02"]
    assert "the clip has no video" in reasons["a01_s01_e00_v03"] and "the clip has no video" in reasons["a01_s02_e00_v01"]


def test_images_change_nothing_else_in_the_pose_cache(person_clips):
    place, _ = person_clips
    with PoseCache(place / "poses") as poses:
        assert len(poses.lengths) == 4
        np.testing.assert_array_equal(poses.joints("a01_s01_e00_v01"), poses.joints("a01_s01_e00_v03"))
        np.testing.assert_array_equal(poses.pixels("a01_s01_e00_v01"), poses.pixels("a01_s01_e00_v03"))
        assert np.isnan(poses.pixels("a01_s02_e00_v01")).all()
