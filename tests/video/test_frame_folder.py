"""A folder of images as a video: order, selection, and every way a folder can be broken."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.errors import VideoError
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.frame_folder import image_files


def write_images(folder, names, size=(48, 64)):
    """Image i has grey level 10 i."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((*size, 3), 10 * i, np.uint8))
    return folder


def levels(frames):
    """Grey level of each frame in units of 10: the number it was written with. JPEG moves a level by 2 at most."""
    return [None if frame is None else round(float(frame.mean()) / 10) for frame in frames]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "JPG"])
def test_images_come_in_order_as_bgr(tmp_path, suffix):
    folder = write_images(tmp_path / "0001", [f"{i:06}.{suffix}" for i in range(1, 13)])
    with VideoReader(folder) as video:
        assert (video.path, video.width, video.height, video.frame_rate, video.frame_count) == (folder, 64, 48, 0.0, 12)
        frames = list(video.frames())
    assert frames[0].shape == (48, 64, 3) and frames[0].dtype == np.uint8
    assert levels(frames) == list(range(12))


def test_colours_are_not_swapped(tmp_path):
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 200
    cv2.imwrite(str(tmp_path / "1.png"), blue)
    with VideoReader(tmp_path) as video:
        np.testing.assert_array_equal(next(video.frames()), blue)


def test_grey_images_get_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((8, 6), 70, np.uint8))
    with VideoReader(tmp_path) as video:
        assert next(video.frames()).tolist() == np.full((8, 6, 3), 70).tolist()


def test_numbers_without_leading_zeros_count_by_value(tmp_path):
    write_images(tmp_path, [f"frame_{i}.png" for i in range(12)])
    with VideoReader(tmp_path) as video:
        assert levels(video.frames()) == list(range(12))


def test_what_is_no_image_is_passed_over(tmp_path):
    write_images(tmp_path, ["1.jpg", "2.jpg"])
    (tmp_path / "3.txt").write_text("no image")
    (tmp_path / "._1.jpg").write_bytes(b"what some systems leave beside each file")
    with VideoReader(tmp_path) as video:
        assert levels(video.frames()) == [0, 1]


def test_only_wanted_images_are_decoded_and_reading_stops_there(tmp_path):
    write_images(tmp_path, [f"{i}.png" for i in range(6)])
    (tmp_path / "2.png").write_bytes(b"never decoded")
    with VideoReader(tmp_path) as video:
        assert levels(video.frames([True, True, False, True])) == [0, 1, None, 3]


def test_the_first_image_may_be_skipped(tmp_path):
    write_images(tmp_path, [f"{i}.png" for i in range(4)])
    with VideoReader(tmp_path) as video:
        assert levels(video.frames([False, True, True])) == [None, 1, 2]


def test_a_folder_shorter_than_its_skeleton(tmp_path):
    write_images(tmp_path / "0007", ["1.png", "2.png"])
    with (
        VideoReader(tmp_path / "0007") as video,
        pytest.raises(VideoError, match=r"0007, frame 2: .*found 2 frames, expected 3 frames.*same clip"),
    ):
        list(video.frames(np.ones(3, bool)))


@pytest.mark.parametrize("other", [None, "notes.txt"], ids=["empty", "no image"])
def test_a_folder_without_images(tmp_path, other):
    folder = tmp_path / "0001"
    folder.mkdir()
    if other:
        (folder / other).write_text("hello")
    with pytest.raises(VideoError, match=r"0001: the folder has no images.*expected \.jpg or \.png.*leave the clip out"):
        VideoReader(folder)


@pytest.mark.parametrize("damage", ["empty", "junk", "cut"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_that_does_not_decode_is_named_once(tmp_path, capfd, suffix, damage):
    write_images(tmp_path, [f"{i}.{suffix}" for i in range(3)])
    rough = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    file = tmp_path / f"1.{suffix}"
    cv2.imwrite(str(file), rough)
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "junk": b"no image at all" * 9, "cut": whole[: len(whole) * 2 // 3]}[damage])
    with VideoReader(tmp_path) as video, pytest.raises(VideoError, match=rf"1\.{suffix}: the image does not decode") as error:
        list(video.frames())
    assert error.value.found == f"{file.stat().st_size} bytes"
    assert capfd.readouterr().err == "", "nor does a decoder complain on its own"


def test_a_damaged_image_with_its_end_mark(tmp_path):
    write_images(tmp_path, ["0.jpg", "1.jpg"])
    (tmp_path / "0.jpg").write_bytes(b"no image\xff\xd9")
    with pytest.raises(VideoError, match=r"0\.jpg: the image does not decode"):
        VideoReader(tmp_path)


def test_an_image_that_is_a_folder(tmp_path):
    write_images(tmp_path, ["0.jpg"])
    (tmp_path / "1.jpg").mkdir()
    with VideoReader(tmp_path) as video, pytest.raises(VideoError, match=r"1\.jpg: the image cannot be read"):
        list(video.frames())


def test_images_of_different_size(tmp_path):
    write_images(tmp_path, ["0.png", "1.png"])
    write_images(tmp_path, ["2.png"], size=(64, 48))
    with VideoReader(tmp_path) as video, pytest.raises(VideoError, match=r"2\.png: .*found 48×64, expected 64×48"):
        list(video.frames())


# frame_N_tc_TIME_rgb.jpg beside skeletons and depth --------------------------------------------------------------------------


def write_recording(folder, images, skeletons=()):
    """Image i of `images` has grey level 10 i; depth lies beside each in both forms, of half the size and of level 240."""
    write_images(folder, [f"frame_{number}_tc_{9000 - number}_rgb.jpg" for number in images])
    for number in images:
        for name in ("depth.png", "depth_vis.jpg"):
            cv2.imwrite(str(folder / f"frame_{number}_tc_{8000 + number}_{name}"), np.full((24, 32), 240, np.uint8))
    for number in skeletons:
        (folder / f"frame_{number}_tc_{8000 + number}_skeletons.txt").write_text("")
    return folder


def test_of_colour_and_depth_only_colour_is_read_in_order_of_the_frames(tmp_path):
    with VideoReader(write_recording(tmp_path, [10, 2, 9, 100])) as video:
        assert (video.width, video.height, video.frame_count) == (64, 48, 4)
        assert levels(video.frames()) == [1, 2, 0, 3]
    assert [file.name for file in image_files(tmp_path)][:2] == ["frame_2_tc_8998_rgb.jpg", "frame_9_tc_8991_rgb.jpg"]


def test_images_without_a_skeleton_are_passed_over(tmp_path):
    folder = write_recording(tmp_path, [0, 1, 2, 3, 10, 11], skeletons=[10, 1, 3])
    with VideoReader(folder) as video:
        assert video.frame_count == 3
        assert levels(video.frames(np.ones(3, bool))) == [1, 3, 4]
    assert len(image_files(folder)) == 3


@pytest.mark.parametrize(
    ("images", "frame", "found"),
    [([1, 2, 10], 3, "1 of 4"), ([2, 3, 10], 1, "1 of 4"), ([1, 3], 2, "2 of 4"), ([4, 5], 1, "4 of 4")],
    ids=["inside", "first", "two", "all"],
)
def test_a_skeleton_without_an_image(tmp_path, images, frame, found):
    folder = write_recording(tmp_path / "a01_s02_e03", images, skeletons=[1, 2, 3, 10])
    with pytest.raises(
        VideoError, match=rf"a01_s02_e03, frame_{frame}: a frame of the skeleton has no colour image \(found {found} frames"
    ) as error:
        VideoReader(folder)
    assert "leave it out" in error.value.fix


@pytest.mark.parametrize("skeletons", [(), (1, 2)])
def test_two_images_of_one_frame(tmp_path, skeletons):
    folder = write_recording(tmp_path / "clip", [1, 2], skeletons)
    write_images(folder, ["frame_2_tc_1_rgb.jpg"])
    with pytest.raises(VideoError, match=r"clip, frame_2: a frame has two colour images.*Take one of them out"):
        VideoReader(folder)


def test_skeletons_beside_other_images_change_nothing(tmp_path):
    write_images(tmp_path, ["frame_1.png", "frame_2_srgb.png"])
    (tmp_path / "frame_1_tc_1_skeletons.txt").write_text("")
    with VideoReader(tmp_path) as video:
        assert levels(video.frames()) == [0, 1]
