"""Videos + pose cache → hand features: right numbers, left-out clips, resuming after a kill at any instant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, VideoError, WeightsError
from keras_actrec.extraction.hand_features import clip_hand_features, extract_hand_features, hand_centers, hand_feature_options
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.skeletons.cleaning import clean
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.video.crops import hand_crops
from keras_actrec.video.decode import VideoReader
from tests.extraction.small import clip_name, write_clip

SIZE = 32
SHORT, JUNK = 4, 5


@pytest.fixture(scope="module")
def model():
    return build_sensor(SensorConfig("resnet50", "random", SIZE))


@pytest.fixture(scope="module")
def sensor(model, tmp_path_factory):
    """The same weights from a file: nothing to draw again."""
    path = tmp_path_factory.mktemp("weights") / "sensor.weights.h5"
    model.save_weights(path)
    return SensorConfig("resnet50", str(path), SIZE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set (clip 4: video too short, clip 5: no video inside) with its pose cache."""
    place = tmp_path_factory.mktemp("ntu")
    for action in range(1, 6):
        write_clip(
            place / "ntu", action, length=12 + action, people=1 + action % 2, video_length=10 if action == SHORT else None
        )
    (place / "ntu" / f"{clip_name(JUNK)}_rgb.avi").write_bytes(b"junk")
    extract_poses(NTURGBD(place / "ntu"), place / "poses")
    return place


@pytest.fixture(scope="module")
def whole(place, sensor):
    """The cache of an uninterrupted run, and its report."""
    report = extract_hand_features(
        NTURGBD(place / "ntu"), place / "poses", place / "whole", sensor=sensor, crop_size=20, batch_size=8, clips_per_shard=2
    )
    return place / "whole", report


def every_array(directory):
    with FeatureCache(directory) as cache:
        frames = {clip: np.arange(length)[None] for clip, length in cache.lengths.items()}
        return {clip: (cache.features([clip], rows)[0], cache.mask([clip], rows)[0]) for clip, rows in frames.items()}


def test_features_are_those_of_the_sensor_on_the_crops(whole, place, model):
    directory, report = whole
    data = {record.clip_id: record for record in NTURGBD(place / "ntu").records}
    arrays = every_array(directory)
    assert set(arrays) == {clip_name(action) for action in (1, 2, 3)}
    with PoseCache(place / "poses") as poses:
        for clip_id, (features, mask) in arrays.items():
            centers = hand_centers(poses.pixels(clip_id), (7, 11))
            assert np.array_equal(mask, np.isfinite(centers).all(axis=2))
            with VideoReader(data[clip_id].video) as video:
                for index, frame in enumerate(video.frames()):
                    crops = hand_crops(frame, centers[index][mask[index]], 20, SIZE)
                    expected = np.asarray(model(crops))
                    np.testing.assert_allclose(features[index][mask[index]], expected, rtol=2e-3, atol=1e-3)
            assert not features[~mask].any()
    assert report.crops == sum(mask.sum() for _, mask in arrays.values()) + 10 * 2


def test_hands_are_left_and_right_of_person_1_then_2():
    pixels = np.arange(2 * 25 * 2, dtype=np.float32).reshape(1, 2, 25, 2)
    # Joint j of person p is (50 p + 2 j, 50 p + 2 j + 1); the hands of Kinect v2 are joints 7 and 11.
    assert hand_centers(pixels, (7, 11))[0].tolist() == [[14, 15], [22, 23], [64, 65], [72, 73]]


def test_broken_videos_are_left_out_and_named(whole):
    directory, report = whole
    assert (report.done, report.skipped) == (3, 0)
    reasons = {entry.clip_id: entry for entry in report.left_out}
    assert set(reasons) == {clip_name(SHORT), clip_name(JUNK)}
    assert "frame 10: the video ends before the last frame of its skeleton" in reasons[clip_name(SHORT)].reason
    assert "does not open" in reasons[clip_name(JUNK)].reason
    assert all(entry.stage == "hand_features" and entry.file.endswith("_rgb.avi") for entry in report.left_out)
    assert verify_cache(directory).ok


def test_the_options_are_what_a_reader_can_expect(whole, place, sensor, model):
    with PoseCache(place / "poses") as poses:
        expected = hand_feature_options(poses.options, sensor, weights_checksum(model), crop_size=20)
        FeatureCache(whole[0], expected).close()
        other = hand_feature_options(poses.options, sensor, "other", crop_size=50)
    with pytest.raises(CacheError, match=r"weights_checksum: found .*crop_size: found 20, expected 50"):
        FeatureCache(whole[0], other)


def test_a_second_run_skips(whole, place, sensor):
    report = extract_hand_features(NTURGBD(place / "ntu"), place / "poses", whole[0], sensor=sensor, crop_size=20)
    assert (report.done, report.skipped, report.crops, len(report.left_out)) == (0, 3, 0, 2)


def test_worker_processes_compute_the_same(whole, place, sensor):
    extract_hand_features(
        NTURGBD(place / "ntu"),
        place / "poses",
        place / "two",
        sensor=sensor,
        crop_size=20,
        batch_size=8,
        clips_per_shard=2,
        workers=2,
    )
    one, two = every_array(whole[0]), every_array(place / "two")
    assert one.keys() == two.keys()
    for clip in one:
        assert np.array_equal(one[clip][1], two[clip][1])
        # Another number of threads may sum in another order: the last bit of float16.
        np.testing.assert_allclose(one[clip][0], two[clip][0], rtol=2e-3, atol=1e-3)


KILLED = """
import sys, time
from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.cache import writer
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.hand_features import extract_hand_features
place, directory, weights = sys.argv[1:]
write, calls = writer.FeatureShardWriter.write, []

def slow(self, *arrays):
    write(self, *arrays)
    calls.append(1)
    if self.path.name == "hand_features-00001.h5":
        self._file.flush()
        print("in the middle of shard 1", flush=True)
        time.sleep(60)

writer.FeatureShardWriter.write = slow
extract_hand_features(NTURGBD(place + "/ntu"), place + "/poses", directory,
    sensor=SensorConfig("resnet50", weights, 32), crop_size=20, batch_size=8, clips_per_shard=2)
"""


def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, place, sensor):
    directory = place / "killed"
    command = [sys.executable, "-c", KILLED, str(place), str(directory), sensor.weights]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "middle of shard 1" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    names = sorted(path.name for path in directory.iterdir())
    assert names[:2] == ["hand_features-00000.h5", f"hand_features-00001.h5.{os.uname().nodename}.{process.pid}.part"]
    assert verify_cache(directory).problems[0].missing
    report = extract_hand_features(
        NTURGBD(place / "ntu"), place / "poses", directory, sensor=sensor, crop_size=20, batch_size=8
    )
    assert (report.done, report.skipped) == (1, 2)
    assert not list(directory.glob("*.part"))
    one, two = every_array(whole[0]), every_array(directory)
    assert one.keys() == two.keys()
    assert all(np.array_equal(a, b) for clip in one for a, b in zip(one[clip], two[clip], strict=True))


def test_one_clip_without_a_cache(whole, place, model):
    data = NTURGBD(place / "ntu")
    record = data.records[0]
    sequence, _ = clean(data.load_skeleton(record))
    features = clip_hand_features(model, record.video, sequence, crop_size=20, batch_size=8)
    assert features.dtype == np.float16
    np.testing.assert_allclose(features, every_array(whole[0])[record.clip_id][0], rtol=2e-3, atol=1e-3)
    with pytest.raises(VideoError, match="does not open"):
        clip_hand_features(model, place / "ntu" / f"{clip_name(JUNK)}_rgb.avi", sequence)
    with pytest.raises(ConfigError, match="need the joints in pixels"):
        clip_hand_features(model, record.video, type(sequence)(sequence.joints, sequence.layout))


def test_a_network_that_gives_no_numbers(place, model, tmp_path):
    data = NTURGBD(place / "ntu")
    weights = model.get_weights()
    broken = build_sensor(SensorConfig("resnet50", "random", SIZE), weights=[array * np.nan for array in weights])
    sequence, _ = clean(data.load_skeleton(data.records[0]))
    with pytest.raises(WeightsError, match="not finite"):
        clip_hand_features(broken, data.records[0].video, sequence)


def test_a_pose_cache_that_does_not_fit(place, sensor, tmp_path):
    with pytest.raises(CacheError, match="there is no cache here"):
        extract_hand_features(NTURGBD(place / "ntu"), tmp_path / "none", tmp_path / "features", sensor=sensor)
    write_clip(tmp_path / "more", 9)
    with pytest.raises(CacheError, match=rf"1 of 1, e\.g\. {clip_name(9)}.*extract_poses\.py"):
        extract_hand_features(NTURGBD(tmp_path / "more"), place / "poses", tmp_path / "features", sensor=sensor)
    assert not (tmp_path / "features").exists()


def test_hands_are_those_of_the_layout_in_the_pose_cache(whole, place, sensor, tmp_path):
    # SBU's hands are joints 5 and 8, and are Kinect v2's hands 7 and 11 by name: the same places, and so the same features.
    assert SBU_15.hands == (5, 8)
    extract_poses(NTURGBD(place / "ntu"), tmp_path / "poses", layout=SBU_15)
    extract_hand_features(
        NTURGBD(place / "ntu"), tmp_path / "poses", tmp_path / "hands", sensor=sensor, crop_size=20, batch_size=8
    )  # fmt: skip
    one, two = every_array(whole[0]), every_array(tmp_path / "hands")
    assert one.keys() == two.keys()
    for clip in one:
        np.testing.assert_array_equal(one[clip][1], two[clip][1])
        np.testing.assert_allclose(one[clip][0], two[clip][0], rtol=2e-3, atol=1e-3)
    with FeatureCache(tmp_path / "hands") as cache:
        assert (cache.options.layout, cache.options.options["source_layout"]) == ("sbu_15", "kinect_v2")


def test_a_pose_cache_of_a_layout_that_nobody_knows(place, sensor, tmp_path):
    extract_poses(NTURGBD(place / "ntu"), tmp_path / "poses", layout=replace(SBU_15, name="mine"))
    with pytest.raises(CacheError, match=r"poses: the joint layout .*found 'mine'.*keras_actrec\.skeletons\.layouts"):
        extract_hand_features(NTURGBD(place / "ntu"), tmp_path / "poses", tmp_path / "hands", sensor=sensor)
    assert not (tmp_path / "hands").exists()


@pytest.mark.parametrize("options", [{"crop_size": 0}, {"batch_size": 0}, {"pixel_size": (0, 5)}])
def test_settings_that_make_no_sense(place, sensor, tmp_path, options):
    with pytest.raises(ConfigError):
        extract_hand_features(NTURGBD(place / "ntu"), place / "poses", tmp_path / "features", sensor=sensor, **options)
