"""Frames and videos at another size, by hand and through the codecs."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, DiskFullError, VideoError
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.rescale import RescaleConfig, remove_stale_part, rescale_video, resize_frame
from keras_actrec.video.write import write_video


def blocks(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Coloured blocks of 20 pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3))
    return np.kron(values, np.ones((20, 20, 1))).astype(np.uint8)


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "video.avi", (blocks(seed) for seed in range(7)), 12.5)


# Frames ------------------------------------------------------------------------------------------------------------


def test_pixels_are_means_of_those_they_cover():
    frame = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    np.testing.assert_allclose(resize_frame(frame, 4, 2), frame.reshape(2, 3, 4, 2, 3).mean(axis=(1, 3)), atol=0.51)


def test_an_axis_that_shrinks_is_averaged_where_the_other_one_grows():
    frame = np.zeros((2, 8, 3), np.uint8)
    frame[:, ::2] = 100  # columns 100, 0, 100, 0, …: any mean of four is 50
    assert (resize_frame(frame, 2, 4) == 50).all()
    # Rows 0 and 100 at twice the height: centres at -0.25, 0.25, 0.75, 1.25 of the old ones, clamped.
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[1] = 100
    assert resize_frame(frame, 2, 4)[:, 0, 0].tolist() == [0, 25, 75, 100]


def test_a_frame_of_that_size_stays():
    frame = blocks(1)
    assert resize_frame(frame, 80, 60) is frame


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (456, 256)),  # 455.1 → the even number next to it
        ((1080, 1920), (256, 456)),
        ((640, 480), (342, 256)),  # 341.3
        ((256, 256), (256, 256)),
        ((100, 50), (512, 256)),
    ],
)
def test_proportions(size, expected):
    assert RescaleConfig(keep_proportions=True).frame_size(*size) == expected
    assert RescaleConfig().frame_size(*size) == (256, 256)


# Videos ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.avi", "out.mp4", "OUT.AVI"])
def test_a_video_keeps_its_frames_and_its_rate(video, tmp_path, name):
    assert rescale_video(video, tmp_path / "deep" / name, RescaleConfig(32)) == 7
    with VideoReader(video) as before, VideoReader(tmp_path / "deep" / name) as after:
        assert (after.width, after.height, after.frame_count, after.frame_rate) == (32, 32, 7, 12.5)
        for one, other in zip(before.frames(), after.frames(), strict=True):
            expected = cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA)
            assert np.abs(other.astype(int) - expected).mean() < 12  # codecs halve the resolution of colours
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [name]


def test_a_video_with_its_proportions(video, tmp_path):
    rescale_video(video, tmp_path / "out.avi", RescaleConfig(30, keep_proportions=True))
    with VideoReader(tmp_path / "out.avi") as after:
        assert (after.width, after.height) == (40, 30)


@pytest.mark.parametrize(
    ("container", "names"),
    [("same", [".avi", ".mp4", ".avi", ".MP4"]), (".mp4", [".mp4"] * 4), (".avi", [".avi"] * 4)],
)
def test_containers(container, names, tmp_path):
    config = RescaleConfig(container=container)
    assert [config.suffix(tmp_path / f"a{ending}") for ending in (".avi", ".mp4", ".mkv", ".MP4")] == names


def test_what_cannot_be_rescaled(video, tmp_path, full_disk):
    (tmp_path / "junk.avi").write_bytes(b"junk")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[:-4000])
    for name, words in (("junk.avi", "does not open"), ("cut.avi", "breaks off"), ("none.avi", "no such video")):
        with pytest.raises(VideoError, match=words):
            rescale_video(tmp_path / name, tmp_path / "out.avi", RescaleConfig(32))
    with pytest.raises(ConfigError, match=r"found \.gif, expected \.avi or \.mp4"):
        rescale_video(video, tmp_path / "out.gif", RescaleConfig(32))
    with full_disk(2000), pytest.raises(DiskFullError, match=r"out\.avi: no space left"):
        rescale_video(video, tmp_path / "out.avi", RescaleConfig(64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.avi", "junk.avi", "video.avi"]


def test_parts_of_dead_runs_go(tmp_path):
    dead = 2**22 + 1  # above the largest process number
    mine, theirs, other = (
        tmp_path / name for name in (f".a[1].{dead}.part.avi", f".a[1].{os.getppid()}.part.avi", f".b.{dead}.part.avi")
    )
    for part in (mine, theirs, other):
        part.write_bytes(b"")
    remove_stale_part(tmp_path / "a[1].avi")
    assert not mine.exists() and theirs.exists() and other.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 0}, r"positive even number \(found 0\)"),
        ({"size": 33}, r"positive even number \(found 33\)"),
        ({"container": "mkv"}, r"found 'mkv', expected same, \.avi, \.mp4"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ConfigError, match=words):
        RescaleConfig(**settings)
