"""A folder of images read as a video: how Penn Action and other data sets distribute their frames."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import VideoError
from keras_actrec.video.jpeg import jpeg_size

END_MARKS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
"""Image suffix → what every whole file of that kind holds. OpenCV 4 hands out a cut JPEG as if it were whole (issue 17862 of
opencv/opencv; version 5 refuses it), and libpng complains on stderr."""

MOST_PIXELS = 1 << 27
"""Of an image, four times those of 8K: a damaged head says up to 2^62, and its pixels would be given memory."""

_FIX = "get the image anew (compare its size with the source) or leave the clip out"
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

_COLOR = re.compile(r"frame_(\d+)_(?:.*_)?rgb\.(?:jpe?g|png)", re.ASCII | re.IGNORECASE)
_SKELETON = re.compile(r"frame_(\d+)_.*skeletons\.txt", re.ASCII)
"""Names of the recorder behind Northwestern-UCLA; the number pairs the two, while times in the names differ."""


class FrameFolder:
    """The images of a folder in the order of their names, with the methods of `cv2.VideoCapture` that `VideoReader` uses.

    Numbers in names count by their value: frame_10 comes after frame_9. Hidden files and files of other kinds are passed over.

    Where a folder holds images frame_N_…_rgb.jpg (or .png), these alone are the video: what lies beside them is depth, as an
    image or as a picture of it. Where it also holds frame_N_…_skeletons.txt files, the images are those of the numbers N that
    have one, so that image t is that of skeleton t.

    Attributes:
        width, height: size of the first image in pixels; all others must have it.
        frame_count: number of images.

    Raises:
        VideoError: the folder has no .jpg or .png file, the first image cannot be read, or of images frame_N_…_rgb.jpg one is
            missing to a skeleton or two have the same number.
    """

    def __init__(self, path: Path):
        self._images, numbers, skeletons = _list_images(path)
        _check_numbers(path, numbers, skeletons)
        if not self._images:
            raise VideoError(
                "the folder has no images", file=path, found="no such file", expected=".jpg or .png files",
                fix="check the data root, or leave the clip out",
            )  # fmt: skip
        self._first: np.ndarray | None = read_image(self._images[0])
        self.height, self.width = self._first.shape[:2]
        self.frame_count = len(self._images)
        self._next = 0

    def grab(self) -> bool:
        """Goes to the next image; False after the last one. Nothing is decoded."""
        self._next += self._next <= self.frame_count
        return self._next <= self.frame_count

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decodes the image that `grab` went to: True, and BGR uint8 (height, width, 3).

        Raises:
            VideoError: the image cannot be read, is cut short, or has another size than the first.
        """
        if self._next == 1 and self._first is not None:
            image, self._first = self._first, None
            return True, image
        file = self._images[self._next - 1]
        image = read_image(file)
        if image.shape[:2] != (self.height, self.width):
            raise VideoError(
                "the image has another size than the first of its folder", file=file,
                found=f"{image.shape[1]}×{image.shape[0]}", expected=f"{self.width}×{self.height}", fix=_FIX,
            )  # fmt: skip
        return True, image

    def release(self) -> None:
        """Forgets the first image."""
        self._first = None


def image_files(folder: Path) -> list[Path]:
    """The .jpg and .png files of a folder in the order of their names, as `FrameFolder` takes them; none is opened."""
    return _list_images(folder)[0]


def _list_images(folder: Path) -> tuple[list[Path], list[int], set[int]]:
    """The images in order; the numbers of those named frame_N_…_rgb; the numbers of skeletons beside these."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    images = sorted((file for file in files if file.suffix.lower() in END_MARKS), key=_natural_order)
    color = [(int(match[1]), file) for file in images if (match := _COLOR.fullmatch(file.name))]
    if not color:
        return images, [], set()
    skeletons = {int(match[1]) for file in files if (match := _SKELETON.fullmatch(file.name))}
    color = [(number, file) for number, file in color if not skeletons or number in skeletons]
    return [file for _, file in color], [number for number, _ in color], skeletons


def _check_numbers(folder: Path, numbers: list[int], skeletons: set[int]) -> None:
    missing = sorted(skeletons.difference(numbers))
    if missing:
        raise VideoError(
            "a frame of the skeleton has no colour image", file=folder, place=f"frame_{missing[0]}",
            found=f"{len(missing)} of {len(skeletons)} frames without one",
            expected="a frame_N_…_rgb.jpg for each frame_N_…_skeletons.txt", fix="get the clip anew, or leave it out",
        )  # fmt: skip
    twice = next((number for number, after in pairwise(numbers) if number == after), None)
    if twice is not None:
        raise VideoError(
            "a frame has two colour images", file=folder, place=f"frame_{twice}",
            fix="take one of them out of the folder, or leave the clip out",
        )  # fmt: skip


def _natural_order(file: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", file.name, flags=re.ASCII)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts], file.name


def read_image(file: Path) -> np.ndarray:
    """BGR uint8 (H, W, 3) of an image file. Raises VideoError where it cannot be read or is cut short."""
    try:
        data = file.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        raise VideoError("the image cannot be read", file=file, found=found, fix=_FIX) from error
    image = None
    if END_MARKS[file.suffix.lower()] in data:
        _check_pixels(file, data)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED)
        except (cv2.error, MemoryError):  # sizes that OpenCV refuses, for instance
            image = None
    if image is None:
        raise VideoError("the image does not decode", file=file, found=f"{len(data)} bytes", expected="a whole image", fix=_FIX)
    return image


def _check_pixels(file: Path, data: bytes) -> None:
    """Raises VideoError where the head of a .jpg or .png file says that it is larger than any frame."""
    if data.startswith(b"\x89PNG"):
        width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    else:
        try:
            width, height = jpeg_size(data + b"\xff\xd9")  # whatever follows the image
        except ValueError:  # not as this project writes them; OpenCV may know better
            return
    if width * height > MOST_PIXELS:
        expected = f"at most {MOST_PIXELS} pixels"
        raise VideoError("the image is too large", file=file, found=f"{width}×{height}", expected=expected, fix=_FIX)
