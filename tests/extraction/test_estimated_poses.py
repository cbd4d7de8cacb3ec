"""Videos → pose files: right poses, left-out videos with reasons, going on where a run stopped, and one set of options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.extraction import estimated_poses
from keras_actrec.extraction.estimated_poses import OPTIONS, estimate_poses
from keras_actrec.pose_estimation.estimator import PoseEstimationConfig, PoseEstimator
from keras_actrec.skeletons.layouts import MEDIAPIPE_33
from keras_actrec.video.write import write_video
from tests.pose_estimation.fake_mediapipe import draw, landmarks


@pytest.fixture
def videos(tmp_path, blob_model) -> dict[str, Path]:
    """Clip n holds a person at x = 40 + 20 n."""
    for n in range(3):
        write_video(tmp_path / f"{n}.avi", [draw((40 + 20 * n, 60, 250))] * (3 + n), 10)
    return {f"clip_{n}": tmp_path / f"{n}.avi" for n in range(3)}


def check(files: dict[str, Path], *clips: int) -> None:
    assert list(files) == [f"clip_{n}" for n in clips]
    for n in clips:
        sequence = read_pose_file(files[f"clip_{n}"])
        assert sequence.layout is MEDIAPIPE_33 and sequence.joints.shape == (3 + n, 1, 33, 3)
        np.testing.assert_allclose(sequence.pixels[0, 0], landmarks(40 + 20 * n, 60, 40), atol=4)  # JPEG blurs the edges


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_for_every_clip(videos, tmp_path, workers):
    found = estimate_poses(videos, tmp_path / "poses", workers=workers)
    check(found.files, 0, 1, 2)
    assert found.done == 3 and found.left_out == ()
    assert sorted(path.name for path in (tmp_path / "poses").iterdir()) == ["clip_0.npz", "clip_1.npz", "clip_2.npz", OPTIONS]


def test_the_same_call_goes_on(videos, tmp_path, monkeypatch):
    estimate_poses({"clip_1": videos["clip_1"]}, tmp_path / "poses")
    before = (tmp_path / "poses" / "clip_1.npz").stat().st_mtime_ns
    asked = []
    video = PoseEstimator.video
    monkeypatch.setattr(PoseEstimator, "video", lambda self, path, **more: asked.append(path) or video(self, path, **more))
    found = estimate_poses(videos, tmp_path / "poses")
    assert found.done == 2 and asked == [videos["clip_0"], videos["clip_2"]]
    check(found.files, 0, 1, 2)
    assert (tmp_path / "poses" / "clip_1.npz").stat().st_mtime_ns == before


def test_where_all_are_there_no_model_is_asked_for(videos, tmp_path, monkeypatch):
    estimate_poses(videos, tmp_path / "poses")
    monkeypatch.setattr(estimated_poses, "PoseEstimator", lambda *_: pytest.fail("MediaPipe was looked for"))
    found = estimate_poses(videos, tmp_path / "poses")
    assert found.done == 0 and len(found.files) == 3


def test_a_video_with_nobody_has_a_file_without_bodies(videos, tmp_path):
    write_video(tmp_path / "0.avi", [draw()] * 4, 10)
    found = estimate_poses(videos, tmp_path / "poses")
    assert found.left_out == () and read_pose_file(found.files["clip_0"]).joints.shape == (4, 0, 33, 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_video_is_left_out_with_its_reason(videos, tmp_path, workers):
    videos["clip_1"].write_bytes(b"no video" * 100)
    videos["clip_2"].unlink()
    found = estimate_poses(videos, tmp_path / "poses", workers=workers)
    check(found.files, 0)
    junk, absent = sorted(found.left_out, key=lambda clip: clip.clip_id)
    assert (junk.clip_id, junk.stage, junk.file) == ("clip_1", "pose_estimation", str(videos["clip_1"]))
    assert "the video does not open" in junk.reason and "2.avi" in absent.reason and found.done == 1
    write_video(videos["clip_1"], [draw((60, 60, 250))] * 4, 10)
    again = estimate_poses(videos, tmp_path / "poses", workers=workers)
    assert again.done == 1 and list(again.files) == ["clip_0", "clip_1"], "tried again once it is mended"


@pytest.mark.parametrize("whole", [True, False])
def test_other_options_are_refused(videos, tmp_path, whole):
    estimate_poses(videos if whole else {"clip_0": videos["clip_0"]}, tmp_path / "poses")
    words = r"poses\.json: the folder holds poses that were estimated with another people \(found 2, expected 1\)\. Give"
    with pytest.raises(CacheError, match=words):
        estimate_poses(videos, tmp_path / "poses", config=PoseEstimationConfig(people=1))
    with pytest.raises(CacheError, match=r"another gap_confidence \(found 0\.2, expected 0\.1\)"):
        estimate_poses(videos, tmp_path / "poses", config=replace(PoseEstimationConfig(), gap_confidence=0.1))


def test_another_model_is_refused(videos, tmp_path):
    estimate_poses({"clip_0": videos["clip_0"]}, tmp_path / "poses")
    options = json.loads((tmp_path / "poses" / OPTIONS).read_text())
    assert options["model"] == "blobs.task" and len(options["sha256"]) == 64
    (tmp_path / "poses" / OPTIONS).write_text(json.dumps(options | {"sha256": "0" * 64}))
    with pytest.raises(CacheError, match="another sha256"):
        estimate_poses(videos, tmp_path / "poses")


@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read"), ("[]", r"another people \(found \[\]")])
def test_damaged_options(videos, tmp_path, text, words):
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / OPTIONS).write_text(text)
    with pytest.raises(CacheError, match=words):
        estimate_poses(videos, tmp_path / "poses")


def test_what_is_missing_is_said_before_anything_is_written(videos, tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.task"):
        estimate_poses(videos, tmp_path / "poses", model=tmp_path / "absent.task")
    with pytest.raises(ConfigError, match="at least one worker is needed"):
        estimate_poses(videos, tmp_path / "poses", workers=0)
    assert not (tmp_path / "poses").exists()
