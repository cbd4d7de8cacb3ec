"""Rescaling folders of videos: what is written where, broken videos, kills, shares, links, and person clips of the result."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.person_clips import joints_in_images, open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, DatasetError, DiskFullError
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.rescale import rescale_videos
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.rescale import RescaleConfig
from keras_actrec.video.write import write_video
from tests.experiments.test_scripts import REPOSITORY, run
from tests.extraction.small import HEIGHT, WIDTH, clip_name, frames, write_clip

CONFIG = RescaleConfig(32)
LENGTHS = {"a.avi": 4, "deep/b.mp4": 5, "deep/er/c.avi": 6}


@pytest.fixture
def source(tmp_path):
    """Three videos at several depths, one that is none, and a file of another kind."""
    root = tmp_path / "source"
    for seed, (name, length) in enumerate(LENGTHS.items()):
        write_video(root / name, frames(length, seed), 20, codec="mp4v" if name.endswith("mp4") else "MJPG")
    (root / "deep" / "broken.avi").write_bytes(b"junk")
    (root / "deep" / "notes.txt").write_text("a note")
    (root / ".hidden.avi").write_bytes(b"hidden")
    return root


def lengths(directory: Path) -> dict[str, int]:
    """Frames of each video below a folder, all 32 pixels wide."""
    found = {}
    for path in sorted(directory.rglob("*.*")):
        if path.suffix in (".avi", ".mp4"):
            with VideoReader(path) as video:
                assert (video.width, video.height, video.frame_rate) == (32, 32, 20)
                found[path.relative_to(directory).as_posix()] = video.frame_count
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_every_video_comes_to_the_same_place(source, tmp_path, workers):
    report = rescale_videos(source, tmp_path / "small", CONFIG, workers=workers)
    assert lengths(tmp_path / "small") == LENGTHS
    assert (report.done, report.skipped, report.frames, report.linked) == (3, 0, 15, 0)
    (entry,) = report.broken
    assert (entry.clip_id, entry.stage) == ("deep/broken.avi", "rescale") and "does not open" in entry.reason
    assert "3 videos written" in str(report) and "broken: deep/broken.avi: " in str(report)
    assert not (tmp_path / "small" / "deep" / "notes.txt").exists()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "small").rglob("*.avi")}
    again = rescale_videos(source, tmp_path / "small", CONFIG, workers=workers)
    assert (again.done, again.skipped, len(again.broken)) == (0, 3, 1)  # a broken one is tried again: it may be mended
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "small").rglob("*.avi")}


def test_shares_make_a_whole(source, tmp_path):
    reports = [rescale_videos(source, tmp_path / "small", CONFIG, share=(part, 3)) for part in range(3)]
    # In order: a.avi, deep/b.mp4, deep/broken.avi, deep/er/c.avi.
    assert [report.done for report in reports] == [2, 1, 0] and lengths(tmp_path / "small") == LENGTHS


KILLED = """
import sys, time
from pathlib import Path
from keras_actrec.extraction.rescale import rescale_videos
from keras_actrec.video import rescale
from keras_actrec.video.rescale import RescaleConfig
resize, calls = rescale.resize_frame, []

def slow(*arguments):
    calls.append(1)
    if len(calls) == 4 + 3:
        print("in the middle of the second video", flush=True)
        time.sleep(60)
    return resize(*arguments)

rescale.resize_frame = slow
rescale_videos(sys.argv[1], sys.argv[2], RescaleConfig(32))
"""


def test_a_killed_run_leaves_whole_videos_and_goes_on(source, tmp_path):
    target = tmp_path / "small"
    process = subprocess.Popen([sys.executable, "-c", KILLED, source, target], stdout=subprocess.PIPE, text=True)
    try:
        assert "second video" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert sorted(path.name for path in target.rglob("*.*")) == [f".b.{process.pid}.part.mp4", ".rescale.json", "a.avi"]
    report = rescale_videos(source, target, CONFIG)
    assert (report.done, report.skipped) == (2, 1)
    assert lengths(target) == LENGTHS and not list(target.rglob("*.part.*"))


def test_a_full_disk_stops_the_run_which_goes_on_later(source, tmp_path, full_disk):
    with full_disk(3000), pytest.raises(DiskFullError, match="no space left"):
        rescale_videos(source, tmp_path / "small", CONFIG)
    assert lengths(tmp_path / "small") == {}
    assert rescale_videos(source, tmp_path / "small", CONFIG).done == 3


def test_other_settings_need_another_folder(source, tmp_path):
    rescale_videos(source, tmp_path / "small", CONFIG)
    with pytest.raises(CacheError, match=r"rescaled in another way .*'size': 32.* expected .*'size': 64"):
        rescale_videos(source, tmp_path / "small", RescaleConfig(64))
    (tmp_path / "small" / ".rescale.json").write_text("{")
    with pytest.raises(CacheError, match="rescaled in another way"):
        rescale_videos(source, tmp_path / "small", CONFIG)


def test_folders_that_make_no_sense(source, tmp_path):
    for target in (source, source / "deep" / "small", tmp_path):
        with pytest.raises(ConfigError, match="must lie outside of the source"):
            rescale_videos(source, target, CONFIG)
    with pytest.raises(DatasetError, match=r"the data root is no folder .*a folder with videos"):
        rescale_videos(tmp_path / "none", tmp_path / "small", CONFIG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="there are no videos here"):
        rescale_videos(tmp_path / "empty", tmp_path / "small", CONFIG)
    shutil.copy(source / "a.avi", source / "a.mkv")
    with pytest.raises(DatasetError, match=r"written to one file .*also a\.avi"):
        rescale_videos(source, tmp_path / "small", CONFIG)
    with pytest.raises(ConfigError, match="at least one worker"):
        rescale_videos(source, tmp_path / "small", CONFIG, workers=0)
    assert not (tmp_path / "small").exists()


# Data sets ------------------------------------------------------------------------------------------------------------


def test_a_data_set_reads_from_the_rescaled_folder(tmp_path):
    """Person clips of small videos are those of the large ones, if the size that the skeletons refer to is given."""
    for action in (1, 2):
        write_clip(tmp_path / "ntu", action, length=12)
    shutil.copy(tmp_path / "ntu" / f"{clip_name(1)}_rgb.avi", tmp_path / "ntu" / "no_clip.avi")
    data = NTURGBD(tmp_path / "ntu")
    report = rescale_videos(data.root, tmp_path / "small", CONFIG, dataset=data, link_others=True)
    assert (report.done, report.linked) == (2, 3)  # two skeletons, and the video that is no clip
    assert (tmp_path / "small" / f"{clip_name(1)}.skeleton").is_symlink()
    small = NTURGBD(tmp_path / "small")
    assert [record.clip_id for record in small.records] == [record.clip_id for record in data.records]
    assert rescale_videos(data.root, tmp_path / "small", CONFIG, dataset=data, link_others=True).linked == 0

    extract_poses(data, tmp_path / "poses")
    crop = PersonCropConfig(size=32, box="whole")
    extract_person_clips(data, tmp_path / "poses", tmp_path / "large_clips", crop=crop)
    extract_person_clips(small, tmp_path / "poses", tmp_path / "small_clips", crop=crop, pixel_size=(WIDTH, HEIGHT))
    with (
        PoseCache(tmp_path / "poses") as poses,
        open_person_clips(tmp_path / "large_clips") as one,
        open_person_clips(tmp_path / "small_clips") as other,
    ):
        for record in data.records:
            clip = record.clip_id
            assert one.boxes(clip)[0].tolist() == [0, 0, WIDTH, HEIGHT] and other.boxes(clip)[0].tolist() == [0, 0, 32, 32]
            pictures = [clips.images(clip, np.arange(12)).astype(int) for clips in (one, other)]
            assert np.abs(pictures[0] - pictures[1]).mean() < 12  # compressed once more
            pixels = poses.pixels(clip)
            np.testing.assert_allclose(joints_in_images(one, clip, pixels), pixels / (WIDTH, HEIGHT) * 32, rtol=1e-5)
            np.testing.assert_array_equal(joints_in_images(one, clip, pixels), joints_in_images(other, clip, pixels))


def test_videos_of_a_data_set_that_cannot_be_rescaled(tmp_path):
    write_clip(tmp_path / "ntu", 1)
    data = NTURGBD(tmp_path / "ntu")
    (tmp_path / "other").mkdir()
    with pytest.raises(DatasetError, match=rf"clip {clip_name(1)}: a clip's video lies outside of the source"):
        rescale_videos(tmp_path / "other", tmp_path / "small", CONFIG, dataset=data)
    video = data.records[0].video
    video.unlink()
    video.mkdir()
    with pytest.raises(DatasetError, match=r"a clip's video is a folder of images.*--box whole"):
        rescale_videos(tmp_path / "ntu", tmp_path / "small", CONFIG, dataset=data)


def test_the_script(source, tmp_path):
    script = REPOSITORY / "preprocessing" / "rescale_videos.py"
    place = ("--source", source, "--target", tmp_path / "small", "--no-progress")
    done = run(script, *place, "--size", 32, "--workers", 2)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'small'}: 3 videos written") and "broken: deep/broken.avi" in done.stdout
    assert lengths(tmp_path / "small") == LENGTHS
    (source / "deep" / "broken.avi").unlink()
    done = run(script, *place, "--size", 32, "--link-others")
    assert done.returncode == 0 and "3 already there" in done.stdout and "1 links to other files" in done.stdout
    done = run(script, *place)
    assert done.returncode == 1 and "error: " in done.stderr and "rescaled in another way" in done.stderr
