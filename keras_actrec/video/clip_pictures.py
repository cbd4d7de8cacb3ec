"""Whole frames of clips as pictures of one size: what networks of single frames read, straight from videos or from a cache.

A picture has as many channels as its stream: 3 of RGB, or the planes of a stack of optical flow. Pictures are uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from keras_actrec.errors import ConfigError, DatasetError, VideoError
from keras_actrec.video.decode import VideoReader

RGB = "rgb"


class Pictures(Protocol):
    """Pictures of the frames of clips.

    Attributes:
        picture_size: (height, width) of every picture.
        channels: C of a picture.
        lengths: clip id → frames.
        stream: what the pictures show, a JSON value: "rgb", or the options of optical flow.
    """

    @property
    def picture_size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    @property
    def lengths(self) -> Mapping[str, int]: ...

    @property
    def stream(self) -> object: ...

    def source_size(self, clip_id: str) -> tuple[int, int]:
        """(width, height) of the clip's video in pixels, to which joints refer."""

    def pictures(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """Pictures of frames int (n,), in any order, repeats allowed: uint8 (n, H, W, C)."""

    def mirrored(self, pictures: np.ndarray) -> np.ndarray:
        """What the pictures (…, H, W, C) would be if the video were mirrored left to right."""


class VideoPictures:
    """RGB pictures of videos, decoded when they are asked for; it can be pickled.

    Frames are resized whole, without keeping their proportions: a data set of several sizes gets one. A video is decoded up to
    the last frame that is wanted, and only the wanted frames are converted.

    Args:
        videos: clip id → video file, or folder of images; None where the clip has none: reading it raises VideoError.
        picture_size: (height, width) of the pictures.
        lengths: clip id → frames, of the clips that are to be read, those of the pose cache for instance; None counts the
            frames of each clip when its length is first asked for.

    Attributes:
        picture_size, channels (3), stream ("rgb").
        videos: as given.
        lengths: clip id → frames. Counting raises VideoError where the video does not read.

    Raises:
        ConfigError: a side of the pictures is below 1.
        DatasetError: a clip has a length and is not among the videos.
    """

    channels, stream = 3, RGB

    def __init__(
        self, videos: Mapping[str, Path | None], picture_size: tuple[int, int], *, lengths: Mapping[str, int] | None = None
    ):
        check_picture_size(picture_size)
        self.picture_size = (int(picture_size[0]), int(picture_size[1]))
        if lengths is not None:
            without = [clip for clip in lengths if clip not in videos]
            if without:
                raise DatasetError(
                    "clips have a length and are not among the videos",
                    found=f"{len(without)} of {len(lengths)}, e.g. {without[0]}", fix="leave the clips out",
                )  # fmt: skip
            videos = {clip: videos[clip] for clip in lengths}
        self.videos = {clip: None if video is None else Path(video) for clip, video in videos.items()}
        self.lengths: Mapping[str, int] = _CountedLengths(self.videos) if lengths is None else dict(lengths)
        self._sizes: dict[str, tuple[int, int]] = {}

    def source_size(self, clip_id: str) -> tuple[int, int]:
        """(width, height) of the video in pixels. Raises DatasetError for an unknown clip; VideoError."""
        if clip_id not in self._sizes:
            with VideoReader(self._video(clip_id), threads=1) as reader:
                self._sizes[clip_id] = (reader.width, reader.height)
        return self._sizes[clip_id]

    def pictures(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """Pictures of some frames; each is decoded and resized once.

        Args:
            clip_id: the clip.
            frames: int (n,), in any order, repeats allowed.

        Returns:
            RGB uint8 (n, H, W, 3).

        Raises:
            DatasetError: an unknown clip.
            ConfigError: a negative frame, or not integers (n,).
            VideoError: the video does not read, or ends before the last of the frames.
        """
        frames = checked_frames(frames, clip_id)
        result = np.empty((len(frames), *self.picture_size, 3), np.uint8)
        if not len(frames):
            return result
        wanted = np.zeros(int(frames.max()) + 1, bool)
        wanted[frames] = True
        with VideoReader(self._video(clip_id), threads=1) as reader:
            self._sizes[clip_id] = (reader.width, reader.height)
            for frame, image in enumerate(reader.frames(wanted)):
                if image is not None:
                    result[frames == frame] = resized(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.picture_size)
        return result

    def mirrored(self, pictures: np.ndarray) -> np.ndarray:
        """The pictures (…, H, W, 3) mirrored left to right."""
        return pictures[..., ::-1, :]

    def _video(self, clip_id: str) -> Path:
        return _video_of(clip_id, self.videos)


def _video_of(clip_id: str, videos: Mapping[str, Path | None]) -> Path:
    if clip_id not in videos:
        raise DatasetError(f"there are no pictures of clip {clip_id}", fix="use the clips of `lengths`")
    if videos[clip_id] is None:
        raise VideoError(f"clip {clip_id} has no video", fix="get it from the data set, or leave the clip out")
    return videos[clip_id]


class _CountedLengths(Mapping):
    """Clip id → frames, counted when asked for; knowing which clips there are costs nothing."""

    def __init__(self, videos: Mapping[str, Path | None]):
        self.videos, self._counted = videos, {}

    def __getitem__(self, clip_id: str) -> int:
        if clip_id not in self.videos:
            raise KeyError(clip_id)
        if clip_id not in self._counted:
            self._counted[clip_id] = count_frames(_video_of(clip_id, self.videos))
        return self._counted[clip_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.videos)

    def __len__(self) -> int:
        return len(self.videos)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self.videos


def count_frames(path: str | Path) -> int:
    """Frames of a video, by decoding it (containers are not always right); images of a folder. Raises VideoError."""
    with VideoReader(path, threads=1) as reader:
        return reader.frame_count if reader.path.is_dir() else sum(1 for _ in reader.frames())


def resized(image: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """An image (h, w, 3) at (height, width); by area where no side grows, else linearly."""
    height, width = picture_size
    if image.shape[:2] == (height, width):
        return image
    smaller = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def checked_frames(frames: np.ndarray, clip_id: str) -> np.ndarray:
    """Frames as int64 (n,). Raises ConfigError where they are no integers (n,), or one is negative."""
    frames = np.asarray(frames)
    if frames.ndim != 1 or frames.dtype.kind not in "iu" or (frames < 0).any():
        found = f"{frames.dtype} {frames.shape}" + (", negative" if frames.dtype.kind == "i" and (frames < 0).any() else "")
        raise ConfigError("frames are integers (n,) from 0 on", place=f"clip {clip_id}", found=found)
    return frames.astype(np.int64)


def check_picture_size(picture_size: tuple[int, int]) -> None:
    """Raises ConfigError where a size is not (height, width), two integers of at least 1."""
    sides = tuple(picture_size)
    if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ConfigError("picture_size is (height, width)", found=picture_size, expected="two integers of at least 1")
