"""`keras-actrec poses`: videos and folders in, pose files out, by a stand-in for MediaPipe."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.cli.main import main
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.video.write import write_video
from tests.pose_estimation.fake_mediapipe import draw, landmarks


@pytest.fixture
def videos(tmp_path, blob_model):
    """a.avi and deeper/b.avi with a person and a doubtful second one; and a file that is no video."""
    for name in ("a", "deeper/b"):
        write_video(tmp_path / "videos" / f"{name}.avi", [draw((50, 60, 250), (110, 60, 100))] * 3, 10)
    (tmp_path / "videos" / "notes.txt").write_text("nothing")
    return tmp_path / "videos"


def test_a_folder_and_a_file(videos, tmp_path, capsys):
    write_video(tmp_path / "c.avi", [draw((80, 60, 250))] * 2, 10)
    assert main(["poses", str(videos), str(tmp_path / "c.avi"), "--out", str(tmp_path / "poses")]) == 0
    out = capsys.readouterr().out
    assert out == f"3 clips done, 0 were there, 0 left out: {tmp_path / 'poses'}\n"
    assert sorted(path.name for path in (tmp_path / "poses").iterdir()) == ["a.npz", "b.npz", "c.npz", "poses.json"]
    sequence = read_pose_file(tmp_path / "poses" / "b.npz")
    assert sequence.joints.shape == (3, 1, 33, 3)
    np.testing.assert_allclose(sequence.pixels[0, 0], landmarks(50, 60, 40), atol=4)
    assert main(["poses", str(videos), "--out", str(tmp_path / "poses")]) == 0
    assert "0 clips done, 2 were there" in capsys.readouterr().out


def test_options_arrive(videos, tmp_path, blob_model):
    words = ["--pose-confidence", "0.3", "--people", "3", "--pose-model", str(blob_model), "--workers", "1"]
    assert main(["poses", str(videos / "a.avi"), "--out", str(tmp_path / "poses"), *words]) == 0
    assert read_pose_file(tmp_path / "poses" / "a.npz").joints.shape == (3, 2, 33, 3), "the doubtful one too"


def test_what_does_not_read_is_said(videos, tmp_path, capsys):
    (videos / "a.avi").write_bytes(b"no video" * 100)
    assert main(["poses", str(videos), "--out", str(tmp_path / "poses")]) == 1
    out = capsys.readouterr().out
    assert "left out: a: " in out and "the video does not open" in out and "1 clips done, 0 were there, 1 left out" in out


def error(capsys, *words: object) -> str:
    """The one line on stderr."""
    assert main(["poses", *map(str, words)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_two_videos_of_one_name(videos, tmp_path, capsys):
    write_video(tmp_path / "a.avi", [draw()], 10)
    line = error(capsys, videos, tmp_path / "a.avi", "--out", tmp_path / "poses")
    assert "two videos have one name, and so one pose file" in line and "Run the command once for each folder" in line
    assert main(["poses", str(videos), str(videos / "a.avi"), "--out", str(tmp_path / "poses")]) == 0, "the same one twice"


def test_nothing_to_do(videos, tmp_path, capsys):
    assert "absent: there is no such video or folder" in error(capsys, tmp_path / "absent", "--out", tmp_path / "poses")
    (tmp_path / "empty").mkdir()
    assert "empty: the folder holds no videos" in error(capsys, tmp_path / "empty", "--out", tmp_path / "poses")


def test_settings_that_make_no_sense(videos, tmp_path, capsys):
    out = ("--out", tmp_path / "poses")
    assert "at least one person is looked for" in error(capsys, videos, *out, "--people", 0)
    assert "detection_confidence is out of range" in error(capsys, videos, *out, "--pose-confidence", 2)
    assert "there is no such model of a pose landmarker" in error(capsys, videos, *out, "--pose-model", "absent.task")
    assert main(["poses", str(videos)]) == 2
