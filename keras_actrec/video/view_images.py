"""Views of a clip as a video network takes them: each frame read once, resized, in the order of the views."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def view_images(read: Callable[[np.ndarray], np.ndarray], frames: np.ndarray, image_size: int) -> np.ndarray:
    """The images of some views of a clip.

    Args:
        read: frames int (m,), increasing → RGB uint8 (m, S, S, 3).
        frames: int (views, F), frames of the clip, in any order, repeats allowed.
        image_size: side of the result in pixels.

    Returns:
        RGB uint8 (views, F, image_size, image_size, 3).
    """
    unique, order = np.unique(frames, return_inverse=True)
    return resize_images(read(unique), image_size)[order.reshape(frames.shape)]


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Square images (n, S, S, 3) → (n, size, size, 3), the array itself where the size is that already.

    Each pixel is the mean of those it covers where images shrink (no aliasing), bilinear where they grow.
    """
    if images.shape[1:3] == (size, size):
        return images
    method = cv2.INTER_AREA if size < images.shape[1] else cv2.INTER_LINEAR
    resized = np.empty((len(images), size, size, images.shape[3]), images.dtype)
    for source, target in zip(images, resized, strict=True):
        cv2.resize(source, (size, size), dst=target, interpolation=method)
    return resized
