"""Views of a clip as Glimpse Clouds takes them: one frame of each of T equal segments, and the same crop of all of them.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), section 7:
sub-sequences of 8 frames; videos of 256 × 256, of which a random crop of 224 × 224 is taken in training and in testing; 5
sub-sequences per clip in testing. Two things follow the authors' published code, as the paper does not say: the crop is the
same for all frames of a sub-sequence, and joints outside of it are moved to its border.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.sampling import subsequence_frames, uniforms

CROP_DRAWS = 2


@dataclass(frozen=True)
class RGBClipConfig:
    """Which frames of a clip and which part of them a model sees.

    Attributes:
        frames: T (8 in the paper).
        image_size: side S of the crops in pixels (224 of 256 in the paper).
        views: sub-sequences that a clip is tested with (5 in the paper).
        seed: of the one table of random numbers that the tests of all clips share, and of the views of cached maps.

    Raises:
        ConfigError: a count below 1, or a negative seed.
    """

    frames: int = 8
    image_size: int = 224
    views: int = 5
    seed: int = 0

    def __post_init__(self):
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "seed" else 1
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"RGBClipConfig: {field.name} is out of range",
                    found=repr(value),
                    expected=f"an integer of at least {least}",
                )

    @property
    def draws(self) -> int:
        """Random numbers of a view: one per frame, then x and y of the crop."""
        return self.frames + CROP_DRAWS


def test_uniforms(config: RGBClipConfig) -> np.ndarray:
    """The random numbers behind the test views, the same for every clip: float64 (views, T + 2) in [0, 1)."""
    return uniforms(config.seed, config.views, config.draws)


test_uniforms.__test__ = False  # The name is the field's; it is no test for pytest to collect.


def training_uniforms(config: RGBClipConfig, clip_id: str, views: int) -> np.ndarray:
    """The random numbers behind the cached training views of a clip: float64 (views, T + 2) in [0, 1).

    Each clip has its own; the first views of a clip do not depend on how many there are.
    """
    name = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "little")
    return np.random.default_rng((config.seed, 1, name)).random((views, config.draws))


def view_frames(length: int, uniforms: np.ndarray, config: RGBClipConfig) -> np.ndarray:
    """Frames of views: one random frame of each of T equal segments (`subsequence_frames`).

    Args:
        length: frames of the clip.
        uniforms: float64 (V, T + 2) in [0, 1).
        config: T.

    Returns:
        int32 (V, T).
    """
    return subsequence_frames(length, uniforms[:, : config.frames])


def crop_corners(uniforms: np.ndarray, stored_size: int, config: RGBClipConfig) -> np.ndarray:
    """Where the crops of views lie: floor(u · (stored size - S + 1)) along each axis.

    Args:
        uniforms: float64 (V, T + 2) in [0, 1); the last two of each row are used.
        stored_size: side of the stored pictures in pixels.
        config: S.

    Returns:
        int64 (V, 2), (x, y) of the left upper corner in the stored picture.

    Raises:
        ConfigError: the stored pictures are smaller than the crops.
    """
    places = stored_size - config.image_size + 1
    if places < 1:
        raise ConfigError(
            "the stored pictures are smaller than the crops", found=f"{stored_size} pixels",
            expected=f"at least {config.image_size}", fix="extract larger ones, or take a smaller image_size",
        )  # fmt: skip
    return np.floor(uniforms[:, config.frames :] * places).astype(np.int64)


def crop_views(
    read: Callable[[np.ndarray], np.ndarray], length: int, uniforms: np.ndarray, stored_size: int, config: RGBClipConfig
) -> np.ndarray:
    """The pictures of some views of a clip; each frame is read once.

    Args:
        read: frames int (m,), increasing → RGB uint8 (m, stored_size, stored_size, 3).
        length: frames of the clip.
        uniforms: float64 (V, T + 2) in [0, 1).
        stored_size: side of the stored pictures in pixels.
        config: T and S.

    Returns:
        RGB uint8 (V, T, S, S, 3).

    Raises:
        ConfigError: the stored pictures are smaller than the crops.
    """
    frames, size = view_frames(length, uniforms, config), config.image_size
    corners = crop_corners(uniforms, stored_size, config)
    unique, order = np.unique(frames, return_inverse=True)
    stored = read(unique)
    views = np.empty((*frames.shape, size, size, 3), np.uint8)
    for view, rows, (x, y) in zip(views, order.reshape(frames.shape), corners, strict=True):
        for picture, row in zip(view, rows, strict=True):
            picture[:] = stored[row, y : y + size, x : x + size]
    return views


def crop_joints(
    joints: np.ndarray, uniforms: np.ndarray, stored_size: int, config: RGBClipConfig
) -> np.ndarray:  # fmt: skip
    """The joints of some views of a clip, in the crop: (x - x of its corner) / S · 2 - 1, and so y; then clipped to [-1, 1].

    As in the authors' published code a joint outside of the crop lies on its border.

    Args:
        joints: float32 (T of the clip, P, J, 2) in pixels of the stored pictures; NaN where absent.
        uniforms: float64 (V, T + 2) in [0, 1).
        stored_size: side of the stored pictures in pixels.
        config: T and S.

    Returns:
        float32 (V, T, P, J, 2) in [-1, 1]; both coordinates NaN where the joint is absent.

    Raises:
        ConfigError: the stored pictures are smaller than the crops.
    """
    corners = crop_corners(uniforms, stored_size, config)[:, None, None, None]
    chosen = joints[view_frames(len(joints), uniforms, config)]
    known = np.isfinite(chosen).all(axis=-1, keepdims=True)
    placed = np.clip((chosen - corners) / config.image_size * 2 - 1, -1, 1)
    return np.where(known, placed, np.nan).astype(np.float32)
