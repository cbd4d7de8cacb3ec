"""Views of a clip: each frame is read once; images are resized without aliasing."""

from __future__ import annotations

import numpy as np

from keras_actrec.video.view_images import resize_images, view_images

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3)).astype(np.uint8)


def test_each_frame_is_read_once_in_order():
    asked = []

    def read(frames):
        asked.append(frames.tolist())
        return IMAGES[frames]

    frames = np.array([[3, 1, 1], [8, 3, 0]])
    np.testing.assert_array_equal(view_images(read, frames, 4), IMAGES[frames])
    assert asked == [[0, 1, 3, 8]]


def test_shrinking_takes_means():
    means = IMAGES.reshape(9, 2, 2, 2, 2, 3).mean(axis=(2, 4))
    shrunk = resize_images(IMAGES, 2)
    assert shrunk.dtype == np.uint8
    np.testing.assert_allclose(shrunk, means, atol=0.5)


def test_growing_is_bilinear():
    # Pixel i of 8 lies at (i + 0.5) / 2 - 0.5 of 4: -0.25 (the border's), 0.25, 0.75, ...
    row = np.zeros((1, 4, 4, 3), np.uint8)
    row[:, :, 1] = 100
    grown = resize_images(row, 8)
    assert grown.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(grown[0, :, :, 0], np.tile([0, 25, 75, 75, 25, 0, 0, 0], (8, 1)))


def test_the_right_size_is_left_alone():
    assert resize_images(IMAGES, 4) is IMAGES
