"""Square boxes around the people of a clip, from the joints in pixels, and the crops that they cut.

Source: "VPN: Learning Video-Pose Embedding for Activities of Daily Living" (Das, Sharma, Dai, Bremond, Thonnat), section 3.1:
the visual backbone takes images cropped to the humans.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import ConfigError, VideoError

BOX_MODES = ("clip", "frame")
WHOLE = "whole"
"""The third way: no box, the whole frame."""

_FAR = 0.5
"""A joint further out of the frame than this share of its width or height is a wrong one: it would make the box useless."""


def person_boxes(
    pixels: np.ndarray,
    frame_size: tuple[int, int],
    *,
    margin: float = 0.15,
    mode: str = "clip",
    file: str | Path | None = None,
) -> np.ndarray:
    """One square box per frame around all people of the clip.

    The tight box goes from the least to the greatest x and y of all joints that are there, of all people. With L its longer
    side, the box is a square of side (1 + 2 · margin) · L, rounded up to whole pixels and at least 1, about the middle of the
    tight box, its left and top edge rounded to the nearest pixel. It may leave the frame: it is not moved or cut.

    Args:
        pixels: (T, P, J, 2), (x, y) of joints in pixels of the video; not finite where absent. Joints further out of the frame
            than half its width or height count as absent.
        frame_size: (width, height) of the video.
        margin: widening on each side, as a share of the longer side of the tight box; at least 0.
        mode: "clip": the tight box of all frames together serves every frame, so that motion against the room stays visible;
            "frame": each frame has its own, which follows the people; a frame without any joint takes the box of the nearest
            frame that has one, the earlier of two.
        file: the video, for the message.

    Returns:
        float32 (T, 4), whole numbers (x0, y0, x1, y1): columns x0 to x1 - 1 and rows y0 to y1 - 1 of the video.

    Raises:
        ConfigError: the arguments make no sense.
        VideoError: no joint of the clip is near the frame.
    """
    pixels = np.asarray(pixels, np.float64)
    _check(pixels, frame_size, margin, mode)
    points = pixels.reshape(len(pixels), -1, 2)
    size = np.asarray(frame_size, np.float64)
    known = np.isfinite(points).all(axis=2)
    with np.errstate(invalid="ignore"):
        near = known & ((points >= -_FAR * size) & (points <= (1 + _FAR) * size)).all(axis=2)
    there = near.any(axis=1)
    if not there.any():
        raise VideoError(
            "no joint of the skeleton lies in the video",
            file=file,
            found=f"{known.sum()} joints with pixels, none near the {frame_size[0]}x{frame_size[1]} frame",
            fix="if the skeleton's pixels refer to a frame of another size, give it as pixel size; else leave the clip out",
        )
    low = np.where(near[..., None], points, np.inf).min(axis=1)
    high = np.where(near[..., None], points, -np.inf).max(axis=1)
    if mode == "clip":
        low, high = np.broadcast_to(low.min(axis=0), low.shape), np.broadcast_to(high.max(axis=0), high.shape)
    else:
        nearest = _nearest(there)
        low, high = low[nearest], high[nearest]
    # The slack keeps a side that is whole but for rounding errors (100 · 1.3) from growing by a pixel.
    side = np.maximum(np.ceil((high - low).max(axis=1) * (1 + 2 * margin) - 1e-6), 1.0)[:, None]
    corner = np.floor((low + high - side) / 2 + 0.5)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def whole_frame_boxes(frames: int, frame_size: tuple[int, int]) -> np.ndarray:
    """The boxes of images that are cut nowhere: float32 (frames, 4), each (0, 0, width, height) of the video."""
    return np.tile(np.array([0, 0, *frame_size], np.float32), (frames, 1))


def crop_box(frame: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cuts a square box out of a frame and resizes it.

    Args:
        frame: uint8 (H, W, 3).
        box: (x0, y0, x1, y1), whole numbers, square, as `person_boxes` gives it.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3); black where the box leaves the frame. Shrunk with cv2.INTER_AREA, enlarged with cv2.INTER_LINEAR.

    Raises:
        ConfigError: the box is not square or has no side, or the size is not positive.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)
    side = x1 - x0
    if side < 1 or y1 - y0 != side or size < 1:
        raise ConfigError("a person crop is a square box, resized to a positive size", found=f"box {tuple(box)}, size {size}")
    height, width = frame.shape[:2]
    left, right = max(x0, 0), min(x1, width)
    top, bottom = max(y0, 0), min(y1, height)
    if (left, top, right, bottom) == (x0, y0, x1, y1):
        crop = frame[top:bottom, left:right]
    else:
        crop = np.zeros((side, side, frame.shape[2]), frame.dtype)
        if left < right and top < bottom:
            crop[top - y0 : bottom - y0, left - x0 : right - x0] = frame[top:bottom, left:right]
    if side == size:
        return crop.copy()
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def _nearest(there: np.ndarray) -> np.ndarray:
    """bool (T,), at least one True → int (T,): for each frame the nearest one that is True, the earlier of two."""
    frames, known = np.arange(len(there)), np.flatnonzero(there)
    after = np.searchsorted(known, frames)
    later, earlier = known[np.minimum(after, len(known) - 1)], known[np.maximum(after - 1, 0)]
    return np.where(np.abs(later - frames) < np.abs(earlier - frames), later, earlier)


def _check(pixels: np.ndarray, frame_size: tuple[int, int], margin: float, mode: str) -> None:
    if pixels.ndim != 4 or pixels.shape[3] != 2 or 0 in pixels.shape:
        raise ConfigError("boxes need the joints in pixels", found=pixels.shape, expected="(T, P, J, 2)")
    if len(frame_size) != 2 or min(frame_size) < 1:
        raise ConfigError("the size of a frame is (width, height)", found=frame_size)
    if not 0 <= margin < np.inf:
        raise ConfigError("the margin of a box is a share of its longer side, at least 0", found=margin)
    if mode not in BOX_MODES:
        raise ConfigError("unknown kind of box", found=repr(mode), expected=" or ".join(map(repr, BOX_MODES)))
