"""A folder of images read as a video: how Penn Action and other data sets distribute their frames."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import VideoError

END_MARKS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
"""Image suffix → what every whole file of that kind holds. OpenCV 4 hands out a cut JPEG as if it were whole (issue 17862 of
opencv/opencv; version 5 refuses it), and libpng complains on stderr."""

_FIX = "get the image anew (compare its size with the source) or leave the clip out"
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class FrameFolder:
    """The images of a folder in the order of their names, with the methods of `cv2.VideoCapture` that `VideoReader` uses.

    Numbers in names count by their value: frame_10 comes after frame_9. Hidden files and files of other kinds are passed over.

    Attributes:
        width, height: size of the first image in pixels; all others must have it.
        frame_count: number of images.

    Raises:
        VideoError: the folder has no .jpg or .png file, or the first image cannot be read.
    """

    def __init__(self, path: Path):
        self._images = image_files(path)
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
    files = (file for file in folder.iterdir() if file.suffix.lower() in END_MARKS and not file.name.startswith("."))
    return sorted(files, key=_natural_order)


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
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED)
    if image is None:
        raise VideoError("the image does not decode", file=file, found=f"{len(data)} bytes", expected="a whole image", fix=_FIX)
    return image
