"""The size of a JPEG from its header."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.video.jpeg import jpeg_size


def jpeg(width, height, *settings):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.imencode(".jpg", image, list(settings))[1].tobytes()


@pytest.mark.parametrize("settings", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)])
def test_size(settings):
    assert jpeg_size(jpeg(37, 21, *settings)) == (37, 21)


def test_segments_before_the_frame_header_are_passed_over():
    data = jpeg(5, 6)
    comment = b"\xff\xfe\x00\x06\xff\xc0\x00\x11"  # a comment that holds what looks like a frame header
    assert jpeg_size(data[:2] + comment + b"\xff" + data[2:]) == (5, 6)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"\x89PNG" + data, "does not begin as a JPEG"),
        (lambda data: b"", "does not begin as a JPEG"),
        (lambda data: data[:-2], "cut short"),
        (lambda data: data[:2] + data[-2:], "no frame header"),
        (lambda data: data[:2] + bytes(50) + data[-2:], "no frame header"),
    ],
)
def test_damage(damage, words):
    with pytest.raises(ValueError, match=words):
        jpeg_size(damage(jpeg(8, 8)))
