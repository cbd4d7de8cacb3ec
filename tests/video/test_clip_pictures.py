"""Pictures of videos: which frames, in which order and size, decoded no further than asked for; what does not read."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, DatasetError, VideoError
from keras_actrec.video import clip_pictures
from keras_actrec.video.clip_pictures import VideoPictures, count_frames, resized
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video

LENGTHS = {"a": 12, "folder": 5}
SIZE = (24, 32)


def picture(number: int) -> np.ndarray:
    """BGR (48, 64, 3): blue tells the frame, red whether it is the left or the right half."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[..., 0] = 20 * number
    image[:, :32, 2], image[:, 32:, 2] = 40, 200
    return image


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A video, a folder of images, junk, and a clip without a video."""
    place = tmp_path_factory.mktemp("videos")
    write_video(place / "a.avi", map(picture, range(LENGTHS["a"])), 30)
    (place / "folder").mkdir()
    for number in range(LENGTHS["folder"]):
        cv2.imwrite(str(place / "folder" / f"{number + 1:06d}.png"), picture(number))
    (place / "junk.avi").write_bytes(b"junk")
    return {"a": place / "a.avi", "folder": place / "folder", "junk": place / "junk.avi", "none": None}


@pytest.fixture
def pictures(videos):
    return VideoPictures(videos, SIZE)


def numbers(images: np.ndarray) -> list[int]:
    """RGB: the last channel tells the frame. JPEG moves it by a few grey levels."""
    return (images[..., 2].mean(axis=(1, 2)) / 20).round().astype(int).tolist()


@pytest.mark.parametrize("clip", LENGTHS)
def test_frames_in_any_order_with_repeats(pictures, clip):
    images = pictures.pictures(clip, np.array([3, 0, 3, 4]))
    assert images.shape == (4, *SIZE, 3) and images.dtype == np.uint8
    assert numbers(images) == [3, 0, 3, 4]
    assert pictures.pictures(clip, np.array([], int)).shape == (0, *SIZE, 3)


def test_a_picture_is_rgb_of_the_whole_frame_by_area(pictures, videos):
    with VideoReader(videos["a"]) as video:
        frame = list(video.frames([False, False, True]))[2]
    expected = frame.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))[..., ::-1]
    assert np.abs(pictures.pictures("a", np.array([2]))[0] - expected).max() <= 0.5
    image = pictures.pictures("folder", np.array([1]))[0]
    assert image[5, 3].tolist() == [40, 128, 20] and image[5, 30].tolist() == [200, 128, 20]
    mirrored = pictures.mirrored(image)
    assert mirrored[5, 3].tolist() == [200, 128, 20] and mirrored.shape == image.shape


def test_pictures_of_the_size_of_the_video_or_larger(videos):
    image = VideoPictures(videos, (48, 64)).pictures("folder", np.array([2]))[0]
    np.testing.assert_array_equal(image, picture(2)[..., ::-1])
    steps = np.tile(np.arange(0, 80, 10, np.uint8)[None, :, None], (4, 1, 3))
    # Linearly: columns 2 k + 1 and 2 k + 2 lie a quarter of a step behind and before the next.
    np.testing.assert_allclose(resized(steps, (4, 16))[0, 1:15, 0], np.arange(14) * 5 + 2.5, atol=0.51)


def test_lengths_are_counted_when_asked_for(pictures, monkeypatch):
    counted = []
    monkeypatch.setattr(clip_pictures, "count_frames", lambda path: counted.append(path.name) or count_frames(path))
    assert list(pictures.lengths) == ["a", "folder", "junk", "none"] and len(pictures.lengths) == 4
    assert "a" in pictures.lengths and "b" not in pictures.lengths and "b" not in list(pictures.lengths)
    assert counted == []
    assert {clip: pictures.lengths[clip] for clip in LENGTHS} == LENGTHS
    assert pictures.lengths["a"] == 12 and counted == ["a.avi", "folder"]  # once
    with pytest.raises(KeyError):
        pictures.lengths["b"]
    assert pictures.lengths.get("b") is None


def test_lengths_given_choose_the_clips(videos, monkeypatch):
    monkeypatch.setattr(clip_pictures, "count_frames", None)
    pictures = VideoPictures(videos, SIZE, lengths={"a": 7})
    assert dict(pictures.lengths) == {"a": 7}
    with pytest.raises(DatasetError, match="no pictures of clip folder"):
        pictures.pictures("folder", np.array([0]))
    with pytest.raises(DatasetError, match=r"are not among the videos \(found 1 of 2, e\.g\. x"):
        VideoPictures(videos, SIZE, lengths={"a": 7, "x": 3})


def test_the_size_of_the_video(pictures, monkeypatch):
    assert pictures.source_size("a") == (64, 48) == pictures.source_size("folder")
    monkeypatch.setattr(clip_pictures, "VideoReader", None)
    assert pictures.source_size("a") == (64, 48)  # known by now


def test_what_is_decoded_is_not_more_than_asked_for(pictures, monkeypatch):
    asked = []
    frames = VideoReader.frames

    def counted(self, wanted=None):
        asked.append(np.array(wanted).tolist())
        return frames(self, wanted)

    monkeypatch.setattr(VideoReader, "frames", counted)
    pictures.pictures("a", np.array([3, 1]))
    assert asked == [[False, True, False, True]]


def test_it_can_be_pickled(pictures):
    assert pictures.lengths["a"] == 12
    other = pickle.loads(pickle.dumps(pictures))
    assert (other.picture_size, other.channels, other.stream, other.lengths["folder"]) == (SIZE, 3, "rgb", 5)
    np.testing.assert_array_equal(other.pictures("a", np.array([1])), pictures.pictures("a", np.array([1])))


def test_videos_that_do_not_read(pictures):
    for ask in (pictures.source_size, lambda clip: pictures.pictures(clip, np.array([0])), lambda clip: pictures.lengths[clip]):
        with pytest.raises(VideoError, match=r"junk\.avi.*does not open"):
            ask("junk")
        with pytest.raises(VideoError, match=r"clip none has no video\. Get it from the data set"):
            ask("none")
    with pytest.raises(VideoError, match=r"frame 12: .*found 12 frames, expected 13"):
        pictures.pictures("a", np.array([12]))


@pytest.mark.parametrize(
    ("frames", "found"), [([[0]], r"int64 \(1, 1\)"), ([0.5], r"float64 \(1,\)"), ([2, -1], r"int64 \(2,\), negative")]
)
def test_frames_that_are_none(pictures, frames, found):
    with pytest.raises(ConfigError, match=rf"clip a: frames are integers .*found {found}"):
        pictures.pictures("a", np.array(frames))


@pytest.mark.parametrize("size", [(24,), (0, 32), (24.0, 32), (True, 32)])
def test_sizes_that_are_none(videos, size):
    with pytest.raises(ConfigError, match=r"picture_size is \(height, width\)"):
        VideoPictures(videos, size)
