"""Views of a clip as RPAN takes them: T whole frames at equal intervals, and the joints of the first person in them.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
"8 frames are randomly sampled from each video with equal interval", and so in testing; whole frames; "the training data sets
[…] are augmented by the mirror operation".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sampling import interval_frames
from keras_actrec.video.clip_pictures import Pictures, check_picture_size

DRAWS = 2
_MIRRORED_FROM = 0.5
"""A view is mirrored if its second number is at least this."""


@dataclass(frozen=True)
class FrameClipConfig:
    """Which frames of a clip a model sees.

    Attributes:
        frames: T.
        picture_size: (height, width) of the pictures, of whole frames.
        views: with how many starts within the first interval a clip is tested.
        mirror: whether half of the training views are mirrored left to right.
        seed: of the cached training views.

    Raises:
        ConfigError: a count or side below 1, a negative seed, or `mirror` is no bool.
    """

    frames: int = 8
    picture_size: tuple[int, int] = (240, 320)
    views: int = 1
    mirror: bool = True
    seed: int = 0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "picture_size":
                check_picture_size(value)
                object.__setattr__(self, "picture_size", tuple(value))
            elif field.name == "mirror":
                if not isinstance(value, bool):
                    raise ConfigError("FrameClipConfig: mirror is not a bool", found=repr(value))
            else:
                least = 0 if field.name == "seed" else 1
                if isinstance(value, bool) or not isinstance(value, int) or value < least:
                    raise ConfigError(
                        f"FrameClipConfig: {field.name} is out of range", found=repr(value),
                        expected=f"an integer of at least {least}",
                    )  # fmt: skip

    @property
    def draws(self) -> int:
        """Random numbers of a view: the start, and whether it is mirrored."""
        return DRAWS


def test_views(config: FrameClipConfig) -> np.ndarray:
    """The test views, the same for every clip: float64 (views, 2); starts (i + 0.5) / views, none mirrored."""
    starts = (np.arange(config.views) + 0.5) / config.views
    return np.stack([starts, np.zeros_like(starts)], axis=1)


test_views.__test__ = False  # The name is the field's; it is no test for pytest to collect.


def training_views(config: FrameClipConfig, clip_id: str, views: int) -> np.ndarray:
    """The cached training views of a clip: float64 (views, 2); every second one is mirrored, if `config.mirror` allows it.

    Each clip has starts of its own; the first views of a clip do not depend on how many there are.
    """
    name = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "little")
    starts = np.random.default_rng((config.seed, 1, name)).random(views)
    return np.stack([starts, np.arange(views) % 2 * _MIRRORED_FROM], axis=1)


def view_frames(length: int, views: np.ndarray, config: FrameClipConfig) -> np.ndarray:
    """Frames of views, int32 (V, T), see `interval_frames`. views: float64 (V, 2). Raises ConfigError for a length below 1."""
    return interval_frames(length, views[:, 0], config.frames)


def mirrored_views(views: np.ndarray, config: FrameClipConfig) -> np.ndarray:
    """Which views are mirrored, bool (V,). views: float64 (V, 2)."""
    return (views[:, 1] >= _MIRRORED_FROM) & config.mirror


def view_pictures(pictures: Pictures, clip_id: str, views: np.ndarray, config: FrameClipConfig) -> np.ndarray:
    """The pictures of some views of a clip.

    Args:
        pictures: of the size of `config`.
        clip_id: the clip.
        views: float64 (V, 2) in [0, 1): start, and whether mirrored.
        config: T.

    Returns:
        uint8 (V, T, H, W, C).

    Raises:
        ConfigError, DatasetError, VideoError, CacheError: see the pictures.
    """
    frames = view_frames(pictures.lengths[clip_id], views, config)
    # In increasing order and each once: videos are decoded forwards.
    unique, order = np.unique(frames, return_inverse=True)
    result = pictures.pictures(clip_id, unique)[order.reshape(frames.shape)]
    for view in np.flatnonzero(mirrored_views(views, config)):
        result[view] = pictures.mirrored(result[view].copy())
    return result


def view_joints(
    pixels: np.ndarray, source_size: tuple[int, int], views: np.ndarray, layout: SkeletonLayout, config: FrameClipConfig
) -> np.ndarray:
    """The joints of the first person in some views of a clip: x / width · 2 - 1, and so y.

    In a mirrored view x is -x, and left and right joints have changed places.

    Args:
        pixels: float32 (length of the clip, P, J, 2), (x, y) in pixels of the video; not finite where absent.
        source_size: (width, height) of the frame that the pixels refer to.
        views: float64 (V, 2) in [0, 1): start, and whether mirrored.
        layout: what the joints are.
        config: T.

    Returns:
        float32 (V, T, J, 2) in [-1, 1]; both coordinates NaN where the joint is absent or outside of the picture.

    Raises:
        ConfigError: the joints are not those of the layout.
    """
    if pixels.ndim != 4 or pixels.shape[1] < 1 or pixels.shape[2:] != (len(layout), 2):
        raise ConfigError("the joints are not those of the layout", found=pixels.shape, expected=f"(T, P, {len(layout)}, 2)")
    chosen = pixels[:, 0][view_frames(len(pixels), views, config)]
    with np.errstate(invalid="ignore"):
        placed = chosen / np.asarray(source_size, np.float64) * 2 - 1
        inside = (np.abs(placed) <= 1).all(axis=-1, keepdims=True)  # NaN is not
    joints = np.where(inside, placed, np.nan).astype(np.float32)
    mirrored = mirrored_views(views, config)
    joints[mirrored] = joints[mirrored][:, :, layout.mirrored] * np.float32([-1, 1])
    return joints
