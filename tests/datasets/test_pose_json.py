"""Every form of poses in JSON, written here as the tools write it, and what is wrong with bad ones."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import COCO_17, JHMDB_15, MEDIAPIPE_33
from tests.datasets.poses import assert_flat, keypoints, metric, points, refused, save, starts

# Our own form -----------------------------------------------------------------------------------------------------------------


def own(*frames: list[dict], layout: str | None = "coco_17") -> dict:
    data = {"frames": [{"people": people} for people in frames]}
    return data | ({"layout": layout} if layout else {})


def test_own_form(tmp_path):
    flat = keypoints(10)
    flat[3 * 4 + 2] = 0  # the confidence of joint 4
    frames = (
        [{"id": 7, "keypoints": flat}],
        [],
        [{"id": 3, "keypoints": keypoints(90)}, {"id": 7, "keypoints": keypoints(11)}],
    )
    sequence = read_pose_file(save(tmp_path / "a.json", own(*frames)))
    assert sequence.layout is COCO_17 and sequence.body_ids == (7, 3), "the one known in more frames comes first"
    assert starts(sequence) == [[10, None], [None, None], [11, 90]]
    assert_flat(sequence, 2, 1, points(90))
    assert np.isnan(sequence.joints[0, 0, 4]).all() and np.isnan(sequence.pixels[0, 0, 4]).all()


@pytest.mark.parametrize(
    "person",
    [
        {"keypoints": np.reshape(keypoints(5), (17, 3)).tolist()},
        {"keypoints": points(5)},
        {"keypoints": np.ravel(points(5)).tolist()},
        {"keypoints": points(5), "keypoint_scores": [0.5] * 17},
    ],
    ids=["rows", "no confidence", "flat, no confidence", "scores apart"],
)
def test_ways_to_write_key_points(tmp_path, person):
    assert_flat(read_pose_file(save(tmp_path / "a.json", own([person]))), 0, 0, points(5))


def test_own_form_in_metres(tmp_path):
    joints = metric(15)[0, 0].tolist()
    joints[2] = [None, None, None]
    person = {"joints": joints, "keypoints": keypoints(4, 15)}
    sequence = read_pose_file(save(tmp_path / "a.json", own([person], [{"joints": joints}], layout="sbu_15")))
    np.testing.assert_array_equal(sequence.joints[0, 0], np.array(joints, np.float32))
    np.testing.assert_array_equal(sequence.pixels[0, 0], points(4, 15))
    assert np.isnan(sequence.pixels[1]).all() and sequence.body_ids == ()


def test_layouts_that_the_file_does_not_name(tmp_path):
    path = save(tmp_path / "a.json", own([{"keypoints": keypoints(1, 3)}], layout=None))
    own_layout = SkeletonLayout("stick", ("a", "b", "c"), (-1, 0, 1), (0, 2), ((0, 2),), (("torso", (0, 1, 2)),))
    assert read_pose_file(path, layout=own_layout).layout is own_layout
    refused(path, "layout: unknown joint layout.*found none")
    refused(save(path, own([{"keypoints": keypoints(1)}])), "another layout.*coco_17.*stick", layout=own_layout)


def test_doubtful_points_can_be_dropped(tmp_path):
    flat = keypoints(10)
    flat[2], flat[5] = 0.29, 0.3
    path = save(tmp_path / "a.json", own([{"keypoints": flat}]))
    assert not np.isnan(read_pose_file(path).joints).any()
    assert np.isnan(read_pose_file(path, min_confidence=0.3).joints[0, 0]).all(axis=1).tolist() == [True] + [False] * 16
    for confidence in (-0.1, float("nan")):
        with pytest.raises(ConfigError, match="min_confidence"):
            read_pose_file(path, min_confidence=confidence)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (own(), "no frame"),
        (own(layout="coco17"), "unknown joint layout.*'coco17'"),
        (own(layout=None) | {"layout": 17}, "unknown joint layout.*found 17"),
        (own([{"keypoints": keypoints(1, 18)}]), "frame 0, person 0, keypoints: wrong coordinates.*54 values.*17 times 3 or 2"),
        (own([], [{"keypoints": keypoints(1)[:-1]}]), "frame 1, person 0, keypoints: wrong coordinates.*50 values"),
        (own([{"keypoints": [[1.0, 2.0, 1.0]] * 16 + [[1.0, 2.0]]}]), "wrong coordinates"),
        (own([{"keypoints": ["1"] * 51}]), "wrong coordinates"),
        (own([{"keypoints": [True] * 51}]), "wrong coordinates"),
        (own([{"keypoints": [10**400] * 51}]), "wrong coordinates"),
        (own([{"keypoints": [{}] * 51}]), "wrong coordinates"),
        (own([{}]), "frame 0, person 0, keypoints: wrong coordinates.*None"),
        (own([{"keypoints": points(1), "keypoint_scores": [1.0] * 16}]), "keypoint_scores: wrong coordinates.*16 values"),
        (own([{"joints": points(1)}]), "joints: wrong coordinates.*34 values.*17 times 3"),
        (own([{"id": "anna", "keypoints": keypoints(1)}]), "person 0, id: wrong id.*'anna'"),
        (own([{"id": 1.5, "keypoints": keypoints(1)}]), "wrong id.*1.5"),
        (own([{"id": 1, "keypoints": keypoints(1)}] * 2), "frame 0: the same person is in a frame twice.*id 1"),
        (own([{"keypoints": keypoints(1)}], [{"joints": [[0, 0, 0]] * 17}]), "frame 0, person 0: some people have joints"),
        (own(["anna"]), "frame 0, entry 0: wrong people.*'anna'"),
        ({"layout": "coco_17", "frames": [{}]}, "frame 0: wrong people.*None.*a list"),
        ({"layout": "coco_17", "frames": [[]]}, r"entry 0: wrong frames.*\[\]"),
        ({"layout": "coco_17", "frames": 3}, "not a form of poses.*layout, frames"),
        ({}, "not a form of poses.*no keys"),
        ([], r"not a form of poses.*found \[\]"),
        ([[1]], "not a form of poses"),
        ("poses", "not a form of poses.*'poses'"),
        ([{"keypoints": keypoints(1)}], "not a form of poses.*a list of 'keypoints'"),
    ],
)
def test_bad_own_form(tmp_path, data, match):
    refused(save(tmp_path / "a.json", data), match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "the file is empty"),
        (b" \r\n", "the file is empty"),
        (b'{"layout": "coco_17",\n "frames": [', "line 2, column 13: not JSON, or cut short"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"clip,label\n", "line 1, column 1: not JSON"),
    ],
)
def test_bad_json(tmp_path, data, match):
    (tmp_path / "a.json").write_bytes(data)
    refused(tmp_path / "a.json", match)


def test_a_byte_order_mark_is_no_harm(tmp_path):
    path = save(tmp_path / "a.json", own([{"keypoints": keypoints(8)}]))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert starts(read_pose_file(path)) == [[8]]


# COCO results -----------------------------------------------------------------------------------------------------------------


def result(image, x: float, **more) -> dict:
    return {"image_id": image, "category_id": 1, "keypoints": keypoints(x), "score": 0.9, **more}


def test_coco_results(tmp_path):
    entries = [result(14, 101, track_id=1), result(12, 500, track_id=2), result(12, 100, track_id=1)]
    sequence = read_pose_file(save(tmp_path / "a.json", entries))
    assert sequence.layout is COCO_17 and sequence.body_ids == (1, 2)
    assert starts(sequence) == [[100, 500], [None, None], [101, None]], "from the lowest number on, gaps stay empty"
    assert_flat(sequence, 0, 1, points(500))


def test_results_of_another_layout(tmp_path):
    path = save(tmp_path / "a.json", [{"image_id": 1, "keypoints": keypoints(3, 15)}])
    assert read_pose_file(path, layout=JHMDB_15).layout is JHMDB_15
    refused(path, "entry 0, keypoints: wrong coordinates.*45 values")


@pytest.mark.parametrize(
    ("names", "first_frame", "expected"),
    [
        (("2.jpg", "3.jpg"), None, [None, None, 10, 11]),  # AlphaPose of a video: counts from 0
        (("2.jpg", "3.jpg"), 1, [None, 10, 11]),
        (("000002.jpg", "000003.jpg"), None, [10, 11]),
        (("a1_frame_9.png", "a1_frame_10.png"), None, [10, 11]),  # by number, not by letter
        (("000002.jpg", "000003.jpg"), 0, [None, None, 10, 11]),
        ((10_000_010_001, 10_000_010_003), None, [10, None, 11]),  # PoseTrack: video and frame in one number
    ],
)
def test_where_a_clip_of_results_starts(tmp_path, names, first_frame, expected):
    path = save(tmp_path / "a.json", [result(names[1], 11), result(names[0], 10)])
    assert [x for (x,) in starts(read_pose_file(path, first_frame=first_frame))] == expected


def test_alphapose_without_a_tracker_calls_everybody_0(tmp_path):
    entries = [result("0.jpg", 10, idx=[0.0]), result("0.jpg", 400, idx=[0.0]), result("1.jpg", 401, idx=[[0.0], [0.0]])]
    sequence = read_pose_file(save(tmp_path / "a.json", [*entries, result("1.jpg", 11, idx=[0.0])]))
    assert starts(sequence) == [[10, 400], [11, 401]] and sequence.body_ids == ()


@pytest.mark.parametrize("wrap", [lambda number: number, lambda number: [float(number)]], ids=["PoseFlow", "tracker"])
def test_alphapose_with_a_tracker(tmp_path, wrap):
    entries = [result("0.jpg", 10, idx=wrap(2)), result("0.jpg", 400, idx=wrap(1)), result("1.jpg", 12, idx=wrap(1))]
    sequence = read_pose_file(save(tmp_path / "a.json", entries))
    assert starts(sequence) == [[400, 10], [12, None]] and sequence.body_ids == (1, 2), "the ids decide, not the places"


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([result(1, 1), {"image_id": 2, "keypoints": keypoints(1)[:30]}], "entry 1, keypoints: wrong coordinates.*30 values"),
        ([result(1, 1), {"keypoints": keypoints(1)}], "entry 1, image_id: the image has no number.*None"),
        ([result("a.jpg", 1)], "the image has no number.*'a.jpg'"),
        ([result(1.5, 1)], "the image has no number.*1.5"),
        ([result(True, 1)], "the image has no number.*True"),
        ([result("anna_1.jpg", 1), result("ben_2.jpg", 1)], "entry 1, image_id: the results are of more than one clip"),
        ([result(1, 1), result(10**9, 1)], "entry 1, image_id: the number of the image is no frame"),
        ([result(1, 1, track_id=3), result(1, 9, track_id=3)], "frame 0: the same person is in a frame twice"),
        ([result(1, 1, track_id="3")], "entry 0, track_id: wrong id"),
        ([result(1, 1), "person"], "entry 1: wrong results"),
    ],
)
def test_bad_results(tmp_path, entries, match):
    refused(save(tmp_path / "a.json", entries), match)


def test_an_image_before_the_first_frame(tmp_path):
    refused(save(tmp_path / "a.json", [result("0.jpg", 1)]), "no frame.*found 0, expected 1 to", first_frame=1)


# MMPose -----------------------------------------------------------------------------------------------------------------------


def mmpose(*frames: list[float], start: int = 0) -> list[dict]:
    def instance(x: float) -> dict:
        return {"keypoints": points(x), "keypoint_scores": [0.8] * 17, "bbox": [[0, 0, 9, 9]], "bbox_score": 0.99}

    return [{"frame_id": start + n, "instances": [instance(x) for x in frame]} for n, frame in enumerate(frames)]


@pytest.mark.parametrize(
    "data",
    [
        mmpose([10], [], [11, 300]),
        {"meta_info": {"dataset_name": "coco"}, "instance_info": mmpose([10], [], [11, 300], start=1)},
    ],
    ids=["inferencer", "demo"],
)
def test_mmpose(tmp_path, data):
    sequence = read_pose_file(save(tmp_path / "a.json", data))
    assert sequence.layout is COCO_17 and starts(sequence) == [[10, None], [None, None], [11, 300]]
    assert_flat(sequence, 2, 1, points(300))


def test_mmpose_low_scores(tmp_path):
    data = mmpose([10])
    data[0]["instances"][0]["keypoint_scores"][3] = 0.1
    joints = read_pose_file(save(tmp_path / "a.json", data), min_confidence=0.2).joints
    assert np.flatnonzero(np.isnan(joints[0, 0, :, 0])).tolist() == [3]


def test_bad_mmpose(tmp_path):
    frames = mmpose([1], [2], [3])
    refused(
        save(tmp_path / "a.json", [frames[0], frames[2]]), "entry 1, frame_id: the frames are not in a row.*found 2, expected 1"
    )
    refused(save(tmp_path / "a.json", [{"frame_id": "a", "instances": []}]), "frame_id.*'a'")
    refused(save(tmp_path / "a.json", [*frames, {"frame_id": 3}]), "frame 3: wrong instances.*None")
    frames[1]["instances"][0]["keypoints"].pop()
    refused(save(tmp_path / "a.json", frames), "frame 1, instance 0, keypoints: wrong coordinates.*32 values")


# MediaPipe --------------------------------------------------------------------------------------------------------------------


def landmarks(x: float, y: float = 0.5, visibility: float | None = 0.9, count: int = 33) -> list[dict]:
    """Landmark j at (x, y, j)."""
    return [{"x": x, "y": y, "z": float(j), "visibility": visibility, "presence": 1.0, "name": None} for j in range(count)]


def test_mediapipe_in_pixels(tmp_path):
    frames = [{"pose_landmarks": [landmarks(0.25)], "segmentation_masks": None}, {"pose_landmarks": []}]
    sequence = read_pose_file(save(tmp_path / "a.json", {"width": 1280, "height": 720, "frames": frames}))
    assert sequence.layout is MEDIAPIPE_33
    assert_flat(sequence, 0, 0, [[320, 360]] * 33)  # 0.25 · 1280, 0.5 · 720
    assert np.isnan(sequence.joints[1]).all()


@pytest.mark.parametrize("names", [("pose_landmarks", "pose_world_landmarks"), ("landmarks", "worldLandmarks")])
def test_mediapipe_in_metres(tmp_path, names):
    """World landmarks are centred on each body, so that people can only be followed in the image."""
    image, world = names
    frames = [
        {image: [landmarks(0.2), landmarks(0.8)], world: [landmarks(0.1, -0.3), landmarks(-0.1)]},
        {image: [landmarks(0.79), landmarks(0.21)], world: [landmarks(0.1), landmarks(-0.1)]},
    ]
    sequence = read_pose_file(save(tmp_path / "a.json", frames))
    assert sequence.pixels is None
    np.testing.assert_array_equal(sequence.joints[0, 0, 7], np.float32([0.1, 0.3, 7]), err_msg="y up")
    np.testing.assert_array_equal(sequence.joints[:, :, 0, 0], np.float32([[0.1, -0.1], [-0.1, 0.1]]))
    sequence = read_pose_file(save(tmp_path / "a.json", {"width": 100, "height": 10, "frames": frames}))
    np.testing.assert_allclose(sequence.pixels[:, :, 0], [[[20, 5], [80, 5]], [[21, 5], [79, 5]]], rtol=1e-6)


@pytest.mark.parametrize("names", [("pose_landmarks", "pose_world_landmarks"), ("landmarks", "worldLandmarks")])
def test_mediapipe_people_stand_where_they_are_seen(tmp_path, names):
    """Hips 30 and 60 pixels right of the middle of 100×50, the nose 20 pixels above: 0.5 metres, so 0.025 to a pixel."""
    people = []
    for x in (0.8, 1.1):
        image, world = landmarks(x), landmarks(0.0, 0.0)
        image[0]["y"], world[0]["y"] = 0.1, -0.5
        people.append((image, world))
    frame = {name: [person[k] for person in people] for k, name in enumerate(names)}
    sequence = read_pose_file(save(tmp_path / "a.json", {"width": 100, "height": 50, "frames": [frame]}))
    hip = MEDIAPIPE_33.index("hip_left")
    np.testing.assert_allclose(sequence.joints[0, :, hip], [[0.75, 0, hip], [1.5, 0, hip]], atol=1e-5)
    np.testing.assert_allclose(sequence.joints[0, :, 0], [[0.75, 0.5, 0], [1.5, 0.5, 0]], atol=1e-5)


def test_mediapipe_visibility(tmp_path):
    pose = landmarks(0.5)
    pose[3]["visibility"], pose[4]["visibility"] = 0.2, None  # optional: then the landmark counts as visible
    path = save(tmp_path / "a.json", [{"pose_world_landmarks": [pose]}])
    assert np.flatnonzero(np.isnan(read_pose_file(path, min_confidence=0.5).joints[0, 0, :, 0])).tolist() == [3]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([{"pose_landmarks": [landmarks(0.5)]}], "parts of the image need its size"),
        ({"width": 0, "height": 9, "frames": [{"pose_landmarks": [landmarks(0.5)]}]}, "width, height: wrong image size"),
        ({"width": 9, "frames": [{"pose_landmarks": [landmarks(0.5)]}]}, "wrong image size"),
        (
            [{"pose_world_landmarks": [landmarks(0.5, count=32)]}],
            "frame 0, pose_world_landmarks, pose 0: wrong coordinates.*96",
        ),
        ([{"pose_world_landmarks": landmarks(0.5)}], "pose 0: wrong landmarks"),
        ([{"pose_world_landmarks": [landmarks("a")]}], "pose 0: wrong coordinates"),
        ([{"pose_world_landmarks": [landmarks(0.5, visibility="high")]}], "visibility: wrong coordinates"),
        ([{"pose_world_landmarks": {"landmark": []}}], "frame 0, pose_world_landmarks: wrong poses"),
        (
            [{"pose_landmarks": [landmarks(0.5)] * 2, "pose_world_landmarks": [landmarks(0.5)]}],
            "do not belong together.*2 poses",
        ),
        (
            [{"pose_world_landmarks": [landmarks(0.5)]}, {"pose_landmarks": [landmarks(0.5)]}],
            "frame 1: .*do not belong together",
        ),
    ],
)
def test_bad_mediapipe(tmp_path, data, match):
    refused(save(tmp_path / "a.json", data), match)
