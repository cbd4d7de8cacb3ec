"""Videos → optical flow: the flow of the videos, left-out clips, lengths of skeletons, kills, full disks, worker processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from keras_actrec.cache.flow import FlowCache, flow_cache_options
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, DiskFullError
from keras_actrec.extraction.flow import extract_flow, flow_videos
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.optical_flow import FlowConfig, flow_frames
from keras_actrec.video.write import write_video
from tests.extraction.small import HEIGHT, WIDTH, clip_name, frames, write_clip

FLOW = FlowConfig(picture_size=(32, 48), preset="ultrafast")
LENGTHS = {"a": 6, "b": 1, "c": 5, "d": 4, "e": 7}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Clips a to e, and f whose file is junk, g that has none. Clip c is a folder of images of another size."""
    place = tmp_path_factory.mktemp("videos")
    videos = {clip: place / f"{clip}.avi" for clip in "abdef"} | {"c": place / "c", "g": None}
    for clip in "abde":
        write_video(videos[clip], frames(LENGTHS[clip], ord(clip)), 30)
    videos["c"].mkdir()
    for number, frame in enumerate(frames(LENGTHS["c"], ord("c"))):
        cv2.imwrite(str(videos["c"] / f"{number}.png"), frame[:100])
    videos["f"].write_bytes(b"junk")
    return videos


def extract(videos, directory, **options):
    return extract_flow(videos, directory, **{"dataset": "test", "flow": FLOW, "clips_per_shard": 2} | options)


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """(cache of an uninterrupted run, its report)."""
    directory = tmp_path_factory.mktemp("whole")
    return directory, extract(videos, directory)


def every_array(directory):
    with FlowCache(directory) as cache:
        return {clip: cache.flow(clip) for clip in cache.clip_ids}


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for clip in one:
        np.testing.assert_array_equal(one[clip], two[clip])


def test_the_cache_holds_the_flow_of_the_videos(whole, videos):
    directory, report = whole
    assert (report.done, report.skipped, report.crops) == (5, 0, sum(LENGTHS.values()))
    assert f"{sum(LENGTHS.values())} frames, " in str(report) and "crops" not in str(report)
    arrays = every_array(directory)
    assert {clip: len(flow) for clip, flow in arrays.items()} == LENGTHS
    for clip, flow in arrays.items():
        with VideoReader(videos[clip]) as video:
            np.testing.assert_array_equal(flow, np.stack(list(flow_frames(video.frames(), FLOW))))
        assert (flow != 128).any() == (clip != "b")
    with FlowCache(directory, flow_cache_options("test", FLOW)) as cache:
        assert cache.source_size("a") == (WIDTH, HEIGHT) and cache.source_size("c") == (WIDTH, 100)


def test_clips_without_a_sound_video_are_left_out_and_named(whole):
    directory, report = whole
    reasons = {entry.clip_id: entry for entry in report.left_out}
    assert set(reasons) == {"f", "g"} and all(entry.stage == "flow" for entry in reasons.values())
    assert "does not open" in reasons["f"].reason and reasons["f"].file.endswith("f.avi")
    assert "clip g: the clip has no video" in reasons["g"].reason
    assert verify_cache(directory).ok


def test_a_second_run_skips(whole, videos):
    report = extract(videos, whole[0])
    assert (report.done, report.skipped, report.crops, len(report.left_out)) == (0, 5, 0, 2)
    with pytest.raises(CacheError, match=r"bound: found 20\.0, expected 15\.0"):
        extract(videos, whole[0], flow=FlowConfig(picture_size=(32, 48), bound=15.0, preset="ultrafast"))


def test_a_mended_clip_is_taken_in(whole, videos, tmp_path):
    shutil.copytree(whole[0], tmp_path / "flow")
    video = write_video(tmp_path / "f.avi", frames(3, 9), 30)
    report = extract(videos | {"f": video}, tmp_path / "flow", retry_left_out=True)
    # Shards (e, f) and (g) are written anew.
    assert (report.done, report.skipped, [entry.clip_id for entry in report.left_out]) == (2, 4, ["g"])
    arrays = every_array(tmp_path / "flow")
    assert len(arrays.pop("f")) == 3
    assert_equal(arrays, every_array(whole[0]))


def test_worker_processes_and_shares_write_the_same(whole, videos, tmp_path):
    assert extract(videos, tmp_path, share=(1, 2)).done == 2  # shards 1 and 3 of 4: clips c and d, and g, which is left out
    with pytest.raises(CacheError, match=r"2 of 4 shards missing.*extract_flow\.py"):
        FlowCache(tmp_path)
    assert extract(videos, tmp_path, workers=2).done == 3
    assert_equal(every_array(tmp_path), every_array(whole[0]))


# Lengths ----------------------------------------------------------------------------------------------------------------------


def test_clips_are_as_long_as_their_skeletons(whole, videos, tmp_path):
    lengths = {"a": 4, "d": 5, "e": 7, "z": 3}
    report = extract({clip: videos[clip] for clip in "ade"}, tmp_path, lengths=lengths)
    (short,) = report.left_out
    assert short.clip_id == "d" and "ends before the last frame of its skeleton (found 4 frames, expected 5" in short.reason
    arrays, others = every_array(tmp_path), every_array(whole[0])
    assert {clip: len(flow) for clip, flow in arrays.items()} == {"a": 4, "e": 7}
    np.testing.assert_array_equal(arrays["a"][:3], others["a"][:3])
    np.testing.assert_array_equal(arrays["a"][3], arrays["a"][2])  # frame 4 of the video was not read
    with pytest.raises(CacheError, match="frames: found 'given', expected 'all'"):
        extract(videos, tmp_path)


def test_a_video_much_longer_than_its_skeleton_is_mentioned(tmp_path):
    video = write_video(tmp_path / "a.avi", frames(12, 0), 30)
    report = extract({"a": video}, tmp_path / "flow", lengths={"a": 4})
    assert report.notes == ("a: the video has 8 frames more than its skeleton; they were not read",)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ({"a": 3}, "found 6 clips without one, e.g. b"),
        (dict.fromkeys("abcdefg", 3) | {"d": 0}, "clip d: the length of a clip is at least one frame .found 0"),
    ],
)
def test_lengths_that_make_no_sense(videos, tmp_path, lengths, words):
    with pytest.raises(ConfigError, match=words):
        extract(dict(sorted(videos.items())), tmp_path / "flow", lengths=lengths)
    assert not (tmp_path / "flow").exists()


def test_records_and_poses_of_a_data_set(tmp_path):
    for action, length in ((1, 6), (2, 9)):
        write_clip(tmp_path / "ntu", action, length=length, video_length=9)
    data = NTURGBD(tmp_path / "ntu")
    assert extract(data.records, tmp_path / "all", dataset="ntu").crops == 18
    extract_poses(data, tmp_path / "poses")
    videos, lengths = flow_videos(data, tmp_path / "poses")
    assert (len(videos), lengths) == (2, {clip_name(1): 6, clip_name(2): 9})
    assert flow_videos(data) == (videos, None)
    assert extract(videos, tmp_path / "flow", dataset="ntu", lengths=lengths).crops == 15
    with FlowCache(tmp_path / "flow") as cache:
        assert dict(cache.lengths) == lengths and cache.options.dataset == "ntu"


# What stops a run -------------------------------------------------------------------------------------------------------------

KILLED = """
import sys, time
from pathlib import Path
from keras_actrec.cache import flow as flows
from keras_actrec.extraction.flow import extract_flow
from keras_actrec.video.optical_flow import FlowConfig
place, directory = map(Path, sys.argv[1:])
store, calls = flows.FlowShardWriter.write, []

def slow(self, frame):
    store(self, frame)
    calls.append(1)
    if len(calls) == 6 + 1 + 5 + 2:
        self._file.flush()
        print("in the middle of clip d", flush=True)
        time.sleep(60)

flows.FlowShardWriter.write = slow
videos = {clip: place / f"{clip}.avi" for clip in "abdef"} | {"c": place / "c", "g": None}
extract_flow(videos, directory, dataset="test", flow=FlowConfig(picture_size=(32, 48), preset="ultrafast"), clips_per_shard=2)
"""


def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, videos, tmp_path):
    command = [sys.executable, "-c", KILLED, str(videos["a"].parent), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "middle of clip d" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [path.name for path in tmp_path.glob("*.h5")] == ["flow-00000.h5"]
    (part,) = tmp_path.glob("*.part")
    assert f".{process.pid}." in part.name
    report = extract(videos, tmp_path)
    assert (report.done, report.skipped) == (3, 2)
    assert not list(tmp_path.glob("*.part"))
    assert_equal(every_array(tmp_path), every_array(whole[0]))


def test_a_full_disk_stops_the_run_which_goes_on_later(whole, videos, tmp_path, full_disk):
    extract(videos, tmp_path, share=(1, 4))  # the plan and shard 1 are there
    with full_disk(3000), pytest.raises(DiskFullError, match=r"flow-00000\.h5, .*no space left"):
        extract(videos, tmp_path)
    assert [path.name for path in tmp_path.glob("*.h5*")] == ["flow-00001.h5"]
    extract(videos, tmp_path)
    assert_equal(every_array(tmp_path), every_array(whole[0]))


def test_an_opencv_without_tvl1_begins_no_cache(videos, tmp_path, monkeypatch):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(ConfigError, match="opencv-contrib-python"):
        extract(videos, tmp_path / "flow", flow=FlowConfig("tvl1", (32, 48)))
    assert not (tmp_path / "flow").exists()


def test_settings_that_make_no_sense(videos, tmp_path):
    with pytest.raises(ConfigError, match="at least one worker"):
        extract(videos, tmp_path, workers=0)
