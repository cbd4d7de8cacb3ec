"""A clip whose decoding hangs or takes too long is left out with its reason; the others are extracted, and the run ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from keras_actrec.cache.flow import FlowCache
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.extraction.crop_stream import ClipEnd, CropOptions, CropTask, crop_batches
from keras_actrec.extraction.flow import extract_flow
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.video import decode
from keras_actrec.video.optical_flow import FlowConfig
from tests.extraction.small import clip_name, write_clip

HANGS = 2
SECONDS = 1.0
FLOW = FlowConfig(picture_size=(32, 40))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("ntu")
    for action in (1, 2, 3):
        write_clip(root, action, length=6)
    return NTURGBD(root)


@pytest.fixture(autouse=True)
def hanging(monkeypatch):
    """The third frame of one clip never comes while the test runs."""
    let_go = threading.Event()
    open_quietly = decode._open_quietly

    class Hanging:
        def __init__(self, capture):
            self.capture, self.grabbed = capture, 0

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def grab(self):
            self.grabbed += 1
            if self.grabbed == 3:
                let_go.wait(60)
            return self.capture.grab()

    def opening(path, settings):
        capture = open_quietly(path, settings)
        return Hanging(capture) if clip_name(HANGS) in path.name else capture

    monkeypatch.setattr(decode, "_open_quietly", opening)
    yield
    let_go.set()


def check(report):
    (left_out,) = report.left_out
    assert left_out.clip_id == clip_name(HANGS)
    assert "frame 2: decoding the video takes too long (found more than 1 s, expected less in all)" in left_out.reason
    assert report.done == 2


def test_optical_flow(data, tmp_path):
    videos = {record.clip_id: record.video for record in data.records}
    report = extract_flow(videos, tmp_path, dataset="ntu_rgbd", flow=FLOW, clips_per_shard=2, clip_seconds=SECONDS)
    check(report)
    with FlowCache(tmp_path) as cache:
        assert set(cache.lengths) == {clip_name(1), clip_name(3)}


@pytest.mark.parametrize("storage", ["hdf5", "jpeg"])
def test_person_clips(data, tmp_path, storage):
    extract_poses(data, tmp_path / "poses")
    options = {"crop": PersonCropConfig(size=16), "storage": storage, "clip_seconds": SECONDS}
    report = extract_person_clips(data, tmp_path / "poses", tmp_path / "people", **options)
    check(report)
    with open_person_clips(tmp_path / "people") as clips:
        assert set(clips.lengths) == {clip_name(1), clip_name(3)}


def test_hand_crops(data):
    centers = np.full((6, 4, 2), 50, np.float32)
    tasks = [CropTask(record.clip_id, record.video, centers) for record in data.records]
    options = CropOptions(20, 16, clip_seconds=SECONDS)
    batches = list(crop_batches(tasks, options, batch_size=8, decode_threads=2))
    ends = {event.clip_id: event.error for batch in batches for event in batch.events if isinstance(event, ClipEnd)}
    assert ends[clip_name(1)] is None and ends[clip_name(3)] is None
    assert isinstance(ends[clip_name(HANGS)], VideoError) and "takes too long" in str(ends[clip_name(HANGS)])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_limits_that_make_no_sense(data, tmp_path, seconds):
    with pytest.raises(ConfigError, match="positive number of seconds"):
        extract_flow({}, tmp_path / "flow", dataset="ntu_rgbd", clip_seconds=seconds)
    with pytest.raises(ConfigError, match="positive number of seconds"):
        extract_person_clips(data, tmp_path / "poses", tmp_path / "people", clip_seconds=seconds)
    assert not list(tmp_path.iterdir())
