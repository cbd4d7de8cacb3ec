"""Videos + pose cache → person clips: right pixels in either storage, left-out clips, kills, full disks, worker processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from keras_actrec.cache.person_clip_writer import STORAGES
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import CacheError, ConfigError, DiskFullError, VideoError
from keras_actrec.extraction.person_clips import (
    PersonCropConfig,
    clip_person_images,
    extract_person_clips,
    person_clip_options,
)
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.skeletons.cleaning import clean
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from tests.extraction.small import HEIGHT, WIDTH, clip_name, skeleton, write_clip

CROP = PersonCropConfig(size=40, margin=0.1)
SHORT, JUNK, BLIND = 4, 5, 6


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Six clips of one or two people and their pose cache. Clip 4: video too short, 5: no video inside, 6: no pixels."""
    place = tmp_path_factory.mktemp("ntu")
    for action in range(1, 7):
        short = 10 if action == SHORT else None
        write_clip(place / "ntu", action, length=12 + action, people=1 + action % 2, video_length=short)
    (place / "ntu" / f"{clip_name(JUNK)}_rgb.avi").write_bytes(b"junk")
    data = NTURGBD(place / "ntu")
    load = data.load_skeleton

    def without_pixels(record):
        sequence = load(record)
        return replace(sequence, pixels=None) if record.clip_id == clip_name(BLIND) else sequence

    data.load_skeleton = without_pixels
    extract_poses(data, place / "poses")
    return place


def extract(place, directory, storage, **options):
    options = {"crop": CROP, "clips_per_shard": 2} | options
    return extract_person_clips(NTURGBD(place / "ntu"), place / "poses", directory, storage=storage, **options)


@pytest.fixture(scope="module")
def whole(place):
    """storage → (cache of an uninterrupted run, its report)."""
    return {storage: (place / storage, extract(place, place / storage, storage)) for storage in STORAGES}


def every_array(directory):
    with open_person_clips(directory) as clips:
        return {clip: (clips.images(clip, np.arange(length)), clips.boxes(clip)) for clip, length in clips.lengths.items()}


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for clip in one:
        for a, b in zip(one[clip], two[clip], strict=True):
            np.testing.assert_array_equal(a, b)


def test_images_are_the_boxes_of_the_video(whole, place):
    arrays = every_array(whole["hdf5"][0])
    assert set(arrays) == {clip_name(action) for action in (1, 2, 3)}
    videos = {record.clip_id: record.video for record in NTURGBD(place / "ntu").records}
    with PoseCache(place / "poses") as poses:
        for clip, (images, boxes) in arrays.items():
            points = poses.pixels(clip).reshape(-1, 2)
            low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
            side = np.ceil(1.2 * (high - low).max())
            left, top = np.floor((low + high) / 2 - side / 2 + 0.5)
            assert (boxes == [left, top, left + side, top + side]).all()
            edges = np.array([left, top, left + side, top + side], int)
            with VideoReader(videos[clip]) as video:
                for image, frame in zip(images, video.frames(), strict=True):
                    room = cv2.copyMakeBorder(frame, *[200] * 4, cv2.BORDER_CONSTANT)
                    x0, y0, x1, y1 = edges + 200
                    crop = cv2.resize(room[y0:y1, x0:x1], (40, 40), interpolation=cv2.INTER_AREA)
                    jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                    np.testing.assert_array_equal(image, cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])


def test_both_storages_hold_the_same(whole):
    assert_equal(every_array(whole["hdf5"][0]), every_array(whole["jpeg"][0]))
    assert (whole["jpeg"][0] / clip_name(1) / "000012.jpg").exists()


def test_a_box_that_follows(place, tmp_path):
    extract(place, tmp_path / "frame", "hdf5", crop=replace(CROP, box="frame", margin=0))
    with PoseCache(place / "poses") as poses:
        for clip, (_, boxes) in every_array(tmp_path / "frame").items():
            for box, points in zip(boxes, poses.pixels(clip).reshape(len(boxes), -1, 2), strict=True):
                low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
                assert box[2] - box[0] == box[3] - box[1] == np.ceil((high - low).max())
                assert (np.abs(box[:2] + box[2:] - low - high) <= 1.001).all()


@pytest.mark.parametrize("storage", STORAGES)
def test_clips_that_cannot_be_cut_are_left_out_and_named(whole, storage):
    directory, report = whole[storage]
    assert (report.done, report.skipped, report.crops) == (3, 0, 13 + 14 + 15)
    reasons = {entry.clip_id: entry for entry in report.left_out}
    assert set(reasons) == {clip_name(action) for action in (SHORT, JUNK, BLIND)}
    assert "frame 10: the video ends before the last frame of its skeleton" in reasons[clip_name(SHORT)].reason
    assert "does not open" in reasons[clip_name(JUNK)].reason
    assert "no joint of the skeleton lies in the video" in reasons[clip_name(BLIND)].reason
    assert all(entry.stage == "person_clips" and entry.file.endswith("_rgb.avi") for entry in report.left_out)
    assert verify_cache(directory).ok
    assert not any((directory / clip).exists() for clip in reasons)


def test_the_options_are_what_a_reader_can_expect(whole, place):
    with PoseCache(place / "poses") as poses:
        open_person_clips(whole["jpeg"][0], person_clip_options(poses.options, CROP, storage="jpeg")).close()
        other = person_clip_options(poses.options, replace(CROP, quality=80), pixel_size=(1920, 1080))
    assert other.options["cleaning"]["find_people"] is True and other.layout == "kinect_v2"
    with pytest.raises(CacheError, match=r"pixel_size: .*quality: found 95, expected 80; storage: found 'jpeg'"):
        open_person_clips(whole["jpeg"][0], other)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_second_run_skips_and_retries_on_demand(whole, place, storage):
    report = extract(place, whole[storage][0], storage)
    assert (report.done, report.skipped, report.crops, len(report.left_out)) == (0, 3, 0, 3)
    with pytest.raises(CacheError, match=r"size: found 40, expected 41"):
        extract(place, whole[storage][0], storage, crop=replace(CROP, size=41))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_mended_clip_is_taken_in(place, whole, tmp_path, storage):
    for file in (place / "ntu").iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / f"{clip_name(JUNK)}_rgb.avi").unlink()
    (tmp_path / f"{clip_name(JUNK)}.skeleton").unlink()
    extract_person_clips(
        NTURGBD(place / "ntu"), place / "poses", tmp_path / "cache", crop=CROP, storage=storage, clips_per_shard=2
    )
    write_clip(tmp_path, JUNK, length=12 + JUNK, people=2)
    data = NTURGBD(tmp_path)
    report = extract_person_clips(data, place / "poses", tmp_path / "cache", crop=CROP, storage=storage, retry_left_out=True)
    # Shards (3, 4) and (5, 6) are written anew.
    assert (report.done, report.skipped, len(report.left_out)) == (2, 2, 2)
    arrays = every_array(tmp_path / "cache")
    assert len(arrays.pop(clip_name(JUNK))[0]) == 12 + JUNK
    assert_equal(arrays, every_array(whole[storage][0]))
    assert verify_cache(tmp_path / "cache").ok


@pytest.mark.parametrize("storage", STORAGES)
def test_worker_processes_write_the_same(whole, place, tmp_path, storage):
    report = extract(place, tmp_path / "two", storage, workers=2)
    assert (report.done, report.crops, len(report.left_out)) == (3, 42, 3)
    assert_equal(every_array(tmp_path / "two"), every_array(whole[storage][0]))


def test_shares_make_a_whole(whole, place, tmp_path):
    first = extract(place, tmp_path / "shared", "jpeg", share=(0, 2))
    assert first.done == 2  # shards 0 and 2 of 3: clips 1 and 2
    with pytest.raises(CacheError, match="1 of 3 shards missing"):
        open_person_clips(tmp_path / "shared")
    second = extract(place, tmp_path / "shared", "jpeg", share=(1, 2))
    assert second.done == 1
    assert_equal(every_array(tmp_path / "shared"), every_array(whole["jpeg"][0]))


KILLED = """
import sys, time
from keras_actrec.cache import person_clip_writer as writers
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
place, directory, storage = sys.argv[1:]
store, calls = writers.PersonClipShardWriter.write, []

def slow(self, jpeg):
    store(self, jpeg)
    calls.append(1)
    if len(calls) == 13 + 14 + 15 + 3:
        self._file.flush()
        print("in the middle of clip 4", flush=True)
        time.sleep(60)

writers.PersonClipShardWriter.write = slow
extract_person_clips(NTURGBD(place + "/ntu"), place + "/poses", directory, storage=storage,
    crop=PersonCropConfig(size=40, margin=0.1), clips_per_shard=2)
"""


@pytest.mark.parametrize("storage", STORAGES)
def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, place, tmp_path, storage):
    directory = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(place), str(directory), storage], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "middle of clip 4" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [path.name for path in directory.glob("*.h5")] == ["person_clips-00000.h5"]
    parts = list(directory.glob("*.part"))
    assert len(parts) == {"hdf5": 1, "jpeg": 2}[storage] and all(f".{process.pid}." in path.name for path in parts)
    whole_clips = {path.name: len(list(path.iterdir())) for path in directory.glob("S*")}
    assert whole_clips == ({} if storage == "hdf5" else {clip_name(action): 12 + action for action in (1, 2, 3)})
    report = extract(place, directory, storage)
    assert (report.done, report.skipped) == (1, 2)
    assert not list(directory.glob("*.part"))
    assert_equal(every_array(directory), every_array(whole[storage][0]))


@pytest.mark.parametrize(("storage", "limit"), [("hdf5", 4000), ("jpeg", 900)])
def test_a_full_disk_stops_the_run_which_goes_on_later(whole, place, tmp_path, full_disk, storage, limit):
    directory = tmp_path / "full"
    extract(place, directory, storage, share=(1, 3))  # the plan and shard 1 are there
    with full_disk(limit), pytest.raises(DiskFullError, match=r"person_clips-00000\.h5, .*no space left"):
        extract(place, directory, storage)
    assert [path.name for path in directory.glob("*.h5*")] == ["person_clips-00001.h5"]
    extract(place, directory, storage)
    assert_equal(every_array(directory), every_array(whole[storage][0]))


def test_images_of_others_are_not_replaced(place, tmp_path):
    picture = tmp_path / clip_name(2) / "1.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"mine")
    with pytest.raises(CacheError, match=rf"images that are not of a cache .*found {clip_name(2)}, and no index\.json"):
        extract(place, tmp_path, "jpeg")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.jpg", clip_name(2)]


def test_a_pose_cache_that_does_not_fit(place, tmp_path):
    with pytest.raises(CacheError, match="there is no cache here"):
        extract_person_clips(NTURGBD(place / "ntu"), tmp_path / "none", tmp_path / "clips")
    write_clip(tmp_path / "more", 9)
    with pytest.raises(CacheError, match=rf"1 of 1, e\.g\. {clip_name(9)}.*extract_poses\.py"):
        extract_person_clips(NTURGBD(tmp_path / "more"), place / "poses", tmp_path / "clips")
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 0}, "size of a person crop must be positive"),
        ({"margin": -0.1}, "margin of a person crop is a share"),
        ({"margin": float("nan")}, "margin of a person crop is a share"),
        ({"box": "body"}, "found 'body', expected 'clip' or 'frame' or 'whole'"),
        ({"quality": 0}, "quality of a JPEG is 1 to 100"),
        ({"quality": 101}, "quality of a JPEG is 1 to 100"),
    ],
)
def test_crops_that_make_no_sense(settings, words):
    with pytest.raises(ConfigError, match=words):
        PersonCropConfig(**settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"storage": "png"}, "found 'png', expected 'hdf5' or 'jpeg'"),
        ({"storage": "hdf5", "pixel_size": (0, 5)}, "pixel_size is .width, height."),
        ({"storage": "hdf5", "workers": 0}, "at least one worker"),
    ],
)
def test_settings_that_make_no_sense(place, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        extract(place, tmp_path / "clips", **options)


WHOLE = PersonCropConfig(size=40, margin=0.1, box="whole")


def test_whole_frames_need_no_joints(place, tmp_path):
    report = extract(place, tmp_path / "clips", "hdf5", crop=WHOLE)
    assert (report.done, {entry.clip_id for entry in report.left_out}) == (4, {clip_name(SHORT), clip_name(JUNK)})
    assert verify_cache(tmp_path / "clips").ok
    arrays = every_array(tmp_path / "clips")
    videos = {record.clip_id: record.video for record in NTURGBD(place / "ntu").records}
    for clip, (images, boxes) in arrays.items():
        assert (boxes == [0, 0, WIDTH, HEIGHT]).all()
        with VideoReader(videos[clip]) as video:
            for image, frame in zip(images, video.frames(), strict=True):
                # 160x120 to 40x40: means of 4x3 pixels.
                means = frame.reshape(40, 3, 40, 4, 3).mean(axis=(1, 3)).round()
                jpeg = cv2.imencode(".jpg", means, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                expected = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
                assert np.abs(image - expected).mean() < 0.5  # halves may be rounded the other way
    assert clip_name(BLIND) in arrays


def test_the_margin_has_no_part_in_whole_frames(place):
    with PoseCache(place / "poses") as poses:
        options = [person_clip_options(poses.options, replace(WHOLE, margin=margin)) for margin in (0.1, 0.3)]
        assert options[0] == options[1] != person_clip_options(poses.options, replace(WHOLE, box="clip"))


# One clip without a cache -----------------------------------------------------------------------------------------------------


def test_one_clip_without_a_cache(whole, place):
    data = NTURGBD(place / "ntu")
    sequence, _ = clean(data.load_skeleton(data.records[0]))
    images, boxes = clip_person_images(data.records[0].video, sequence, CROP)
    expected_images, expected_boxes = every_array(whole["hdf5"][0])[data.records[0].clip_id]
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(boxes, expected_boxes)
    with pytest.raises(VideoError, match="does not open"):
        clip_person_images(place / "ntu" / f"{clip_name(JUNK)}_rgb.avi", sequence)
    with pytest.raises(ConfigError, match=r"need the joints in pixels .*box whole"):
        clip_person_images(data.records[0].video, replace(sequence, pixels=None))
    whole, boxes = clip_person_images(data.records[0].video, replace(sequence, pixels=None), WHOLE)
    assert whole.shape == (13, 40, 40, 3) and boxes.tolist() == [[0, 0, WIDTH, HEIGHT]] * 13


def painted(tmp_path, length=6):
    """A video of a red square on blue that moves right by 10 pixels per frame, and a skeleton on its corners."""
    sequence = skeleton(length, 1, 0)
    pixels = np.full_like(sequence.pixels, np.nan)

    def frames():
        for t in range(length):
            x = 10 + 10 * t
            frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            frame[..., 0] = 200
            frame[40:80, x : x + 40] = (0, 0, 200)
            pixels[t, 0, :2] = (x, 40), (x + 40, 80)
            yield frame

    video = write_video(tmp_path / "moving.avi", frames(), 30)
    return video, SkeletonSequence(sequence.joints, sequence.layout, pixels)


def redness(images):
    """Share of red pixels per image."""
    return (images[..., 0] > images[..., 2]).mean(axis=(1, 2))


def test_motion_is_seen_against_the_room_or_taken_out(tmp_path):
    video, sequence = painted(tmp_path)
    images, boxes = clip_person_images(video, sequence, PersonCropConfig(size=90, margin=0, box="clip"))
    # x 10..100, y 40..80: side 90 about (55, 60).
    assert (boxes == [10, 15, 100, 105]).all()
    columns = (images[..., 0] > images[..., 2]).any(axis=1)
    np.testing.assert_allclose([row.argmax() for row in columns], 10 * np.arange(6), atol=2)
    images, boxes = clip_person_images(video, sequence, PersonCropConfig(size=90, margin=0.25, box="frame"))
    assert boxes.tolist() == [[10 * t, 30, 10 * t + 60, 90] for t in range(6)]
    np.testing.assert_allclose(redness(images), (40 / 60) ** 2, atol=0.03)


def test_frames_without_a_body_use_the_nearest_box(tmp_path):
    video, sequence = painted(tmp_path)
    sequence.pixels[[0, 2, 3]] = np.nan
    _, boxes = clip_person_images(video, sequence, PersonCropConfig(size=20, margin=0, box="frame"))
    assert boxes[:, 0].tolist() == [20, 20, 20, 50, 50, 60]


def test_pixels_of_a_frame_of_another_size(tmp_path):
    video, sequence = painted(tmp_path)
    crop = PersonCropConfig(size=60, margin=0.25, box="frame")
    expected = clip_person_images(video, sequence, crop)
    scaled = replace(sequence, pixels=sequence.pixels * np.float32([12, 9]))
    found = clip_person_images(video, scaled, crop, pixel_size=(12 * WIDTH, 9 * HEIGHT))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(VideoError, match=r"moving\.avi: no joint of the skeleton lies in the video .*as pixel size"):
        clip_person_images(video, replace(sequence, pixels=sequence.pixels * 50), crop)


def test_remarks(tmp_path):
    write_clip(tmp_path / "ntu", 1, length=14, video_length=30)
    sequence = skeleton(14, 1, 1)
    extract_poses(NTURGBD(tmp_path / "ntu"), tmp_path / "poses")
    report = extract_person_clips(NTURGBD(tmp_path / "ntu"), tmp_path / "poses", tmp_path / "clips", pixel_size=(80, 60))
    assert sequence.pixels.max() < 2 * WIDTH
    assert any("the video has 16 frames more than its skeleton" in note for note in report.notes)
    (outside,) = (note for note in report.notes if "lie outside" in note)
    assert "of the 160x120 video" in outside and "as pixel size" in outside


def test_a_real_clip(actrec_data):
    clip = actrec_data / "ntu_samples" / "S001C001P001R001A001"
    sequence, _ = clean(read_ntu_skeleton(clip.with_suffix(".skeleton")))
    video = clip.with_name(f"{clip.name}_rgb.avi")
    images, boxes = clip_person_images(video, sequence)
    assert images.shape == (103, 224, 224, 3)
    x0, y0, x1, y1 = boxes[0].astype(int)
    points = sequence.pixels[np.isfinite(sequence.pixels).all(axis=3)]
    assert ((points > (x0, y0)) & (points < (x1, y1))).all()
    # A standing adult at 3.5 m fills about 400 of 1080 rows.
    assert 450 < x1 - x0 < 600
    with VideoReader(video) as reader:
        frame = next(reader.frames())
    expected = cv2.resize(frame[y0:y1, x0:x1, ::-1], (224, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(images[0].astype(int) - expected).mean() < 2
