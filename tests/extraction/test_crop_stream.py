"""The stream of crops: every hand once, in order, in bounded memory, clips that fail apart."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from keras_actrec.errors import VideoError
from keras_actrec.extraction import crop_stream
from keras_actrec.extraction.crop_stream import ClipBegin, ClipCrops, ClipEnd, CropOptions, CropTask, crop_batches
from keras_actrec.video.crops import hand_crops
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from tests.extraction.small import HEIGHT, WIDTH, frames

OPTIONS = CropOptions(crop_size=20, output_size=32)


def centers(length, seed):
    """Hands anywhere in and around the frame; about half of them absent."""
    rng = np.random.default_rng(seed)
    values = rng.uniform((-20, -20), (WIDTH + 20, HEIGHT + 20), (length, 4, 2))
    values[rng.random((length, 4)) < 0.5] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Clips of 9, 25 and 4 frames."""
    folder = tmp_path_factory.mktemp("videos")
    lengths = {"x": 9, "y": 25, "z": 4}
    return [
        CropTask(name, write_video(folder / f"{name}.avi", frames(length, length), 30), centers(length, length))
        for name, length in lengths.items()
    ]


def collect(batches):
    """Clip → {(frame, hand): image}, and how each clip ended."""
    images, ends, clip = {}, {}, None
    for batch in batches:
        assert batch.images.shape[1:] == (32, 32, 3)
        assert not batch.images[batch.count :].any()
        for event in batch.events:
            if isinstance(event, ClipBegin):
                clip = images.setdefault(event.clip_id, {})
            elif isinstance(event, ClipCrops):
                for row, key in enumerate(zip(event.frames.tolist(), event.hands.tolist(), strict=True), event.start):
                    assert key not in clip
                    clip[key] = batch.images[row]
            else:
                ends[event.clip_id] = event
    return images, ends


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (7, 2), (64, 3)])
def test_every_present_hand_once(tasks, batch_size, threads):
    batches = list(crop_batches(tasks, OPTIONS, batch_size=batch_size, decode_threads=threads))
    assert all(len(batch.images) == batch_size for batch in batches)
    assert all(batch.count == batch_size for batch in batches[:-1])
    images, ends = collect(batches)
    assert list(ends) == ["x", "y", "z"]
    for task in tasks:
        present = np.isfinite(task.centers).all(axis=2)
        assert set(images[task.clip_id]) == {tuple(place) for place in np.argwhere(present).tolist()}
        with VideoReader(task.video) as video:
            for index, frame in enumerate(video.frames()):
                expected = hand_crops(frame, task.centers[index][present[index]], 20, 32)
                for hand, crop in zip(np.flatnonzero(present[index]), expected, strict=True):
                    assert np.array_equal(images[task.clip_id][index, int(hand)], crop)


def test_batches_do_not_depend_on_threads(tasks):
    one, four = (list(crop_batches(tasks, OPTIONS, batch_size=7, decode_threads=threads)) for threads in (1, 4))
    assert len(one) == len(four)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(one, four, strict=True))


def test_failing_clips_do_not_disturb_the_others(tasks, tmp_path):
    short = write_video(tmp_path / "short.avi", frames(5, 0), 30)
    (tmp_path / "junk.avi").write_bytes(b"junk")
    bad = [
        CropTask("short", short, centers(8, 0)),
        CropTask("junk", tmp_path / "junk.avi", centers(8, 0)),
        CropTask("none", None, centers(8, 0)),
    ]
    images, ends = collect(crop_batches([bad[0], tasks[0], *bad[1:], tasks[1]], OPTIONS, batch_size=5, decode_threads=2))
    alone, _ = collect(crop_batches(tasks[:2], OPTIONS, batch_size=5))
    for clip_id in ("x", "y"):
        assert ends[clip_id].error is None
        assert all(np.array_equal(images[clip_id][key], alone[clip_id][key]) for key in alone[clip_id])
    assert all(isinstance(ends[name].error, VideoError) for name in ("short", "junk", "none"))
    assert "short.avi, frame 5" in str(ends["short"].error)
    assert "clip none: the clip has no video" in str(ends["none"].error)


def test_a_clip_without_hands_still_ends(tasks):
    task = CropTask("empty", tasks[0].video, np.full((9, 4, 2), np.nan, np.float32))
    (batch,) = crop_batches([task], OPTIONS, batch_size=4)
    assert batch.count == 0
    assert batch.events == (ClipBegin("empty", 9), ClipEnd("empty"))


def test_pixels_of_a_frame_of_another_size(tasks):
    task = tasks[0]
    double = CropTask(task.clip_id, task.video, task.centers * 2)
    scaled = CropOptions(20, 32, pixel_size=(2 * WIDTH, 2 * HEIGHT))
    images, _ = collect(crop_batches([double], scaled, batch_size=8))
    expected, _ = collect(crop_batches([task], OPTIONS, batch_size=8))
    assert all(np.array_equal(images["x"][key], expected["x"][key]) for key in expected["x"])


def test_notes_on_what_looks_odd(tasks):
    cut = CropTask("y", tasks[1].video, centers(10, 1))
    far = CropTask("x", tasks[0].video, np.full((9, 4, 2), 5000, np.float32))
    _, ends = collect(crop_batches([cut, far], OPTIONS, batch_size=8))
    assert ends["y"].notes == ("y: the video has 15 frames more than its skeleton; they were not read",)
    assert "36 of 36 hands lie outside of the 160x120 video" in ends["x"].notes[0]
    assert "pixel size" in ends["x"].notes[0]


def test_an_unexpected_exception_surfaces(tasks, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("keras_actrec.extraction.crop_stream.crop_square", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(crop_batches(tasks, OPTIONS, batch_size=8, decode_threads=2))


def test_short_clips_do_not_pile_up(tasks, monkeypatch):
    """Each is decoded whole before the first batch is taken, so only their number holds the threads back."""
    opened = []
    reader = crop_stream.VideoReader
    monkeypatch.setattr(crop_stream, "VideoReader", lambda path, **settings: opened.append(path) or reader(path, **settings))
    batches = crop_batches(tasks * 5, OPTIONS, batch_size=1, decode_threads=2)
    next(batches)
    for _ in range(200):
        if len(opened) == 4:
            break
        time.sleep(0.05)
    time.sleep(0.3)
    assert len(opened) == 4
    assert sum(1 for _ in batches) > 15
    assert len(opened) == 15


def test_stopping_early_ends_the_threads(tasks):
    before = threading.active_count()
    batches = crop_batches(tasks * 5, OPTIONS, batch_size=2, decode_threads=3)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
