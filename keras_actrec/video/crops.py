"""Square crops around joints: padded at the border of the frame, never moved.

Source: "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition" (Baradel, Wolf, Mille), section 5: crops
of 50 x 50 pixels (NTU RGB+D) centred on the hands, resized to the input of the glimpse sensor.
"""

from __future__ import annotations

import cv2
import numpy as np

from keras_actrec.errors import ConfigError


def crop_square(frame: np.ndarray, center: np.ndarray | tuple[float, float], size: int) -> np.ndarray:
    """Cuts a square out of a frame.

    Args:
        frame: (H, W, C), any type.
        center: (x, y) in pixels, rounded to the nearest pixel (halves go up); it becomes pixel (size // 2, size // 2)
            of the crop.
        size: side of the crop in pixels.

    Returns:
        (size, size, C) of the frame's type, a copy. Pixels outside the frame are zeros; a centre far outside gives
        zeros only.

    Raises:
        ConfigError: the centre is not finite, or the size is not positive.
    """
    if size < 1:
        raise ConfigError("a crop needs a positive size", found=size)
    x, y = float(center[0]), float(center[1])
    if not (np.isfinite(x) and np.isfinite(y)):
        raise ConfigError("a crop needs a finite centre", found=(x, y), fix="leave out the joints that are absent")
    height, width = frame.shape[:2]
    left = int(np.floor(x + 0.5)) - size // 2
    top = int(np.floor(y + 0.5)) - size // 2
    crop = np.zeros((size, size, *frame.shape[2:]), frame.dtype)
    x0, x1 = max(left, 0), min(left + size, width)
    y0, y1 = max(top, 0), min(top + size, height)
    if x0 < x1 and y0 < y1:
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    return crop


def resize_to_rgb(crops: np.ndarray, output_size: int, *, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes BGR crops and turns them into RGB.

    Args:
        crops: BGR uint8 (n, size, size, 3).
        output_size: side of the result in pixels; bilinear interpolation (cv2.INTER_LINEAR).
        out: uint8 (n, output_size, output_size, 3), C-contiguous, to write into; a new array by default.

    Returns:
        RGB uint8 (n, output_size, output_size, 3): `out` where it was given.
    """
    if out is None:
        out = np.empty((len(crops), output_size, output_size, 3), np.uint8)
    for source, target in zip(crops, out, strict=True):
        # Colours first: the small crop has fewer pixels to swap.
        rgb = cv2.cvtColor(source, cv2.COLOR_BGR2RGB)
        cv2.resize(rgb, (output_size, output_size), dst=target, interpolation=cv2.INTER_LINEAR)
    return out


def hand_crops(frame: np.ndarray, centers: np.ndarray, crop_size: int, output_size: int) -> np.ndarray:
    """Crops around hands, ready for an image network.

    Args:
        frame: BGR uint8 (H, W, 3), as `VideoReader.frames` gives it.
        centers: (n, 2) finite (x, y) in pixels of the frame.
        crop_size: side of a crop in pixels of the frame (50 for NTU, 100 for MSR and SBU).
        output_size: side of the result (299 for Inception V3).

    Returns:
        RGB uint8 (n, output_size, output_size, 3).

    Raises:
        ConfigError: a centre is not finite, or the crop size is not positive.
    """
    crops = np.zeros((len(centers), crop_size, crop_size, 3), np.uint8)
    for crop, center in zip(crops, centers, strict=True):
        crop[:] = crop_square(frame, center, crop_size)
    return resize_to_rgb(crops, output_size)
