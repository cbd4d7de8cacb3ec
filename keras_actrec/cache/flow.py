"""The cache of optical flow: every frame of it, without loss, from which stacks are made when they are asked for.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
stacked optical flow of each video frame.

Shard: `flow` (sum of T, 2, H, W) uint8, x planes and y planes as `video/optical_flow.py` quantises them, one compressed and
checksummed chunk per frame, so that a stack reads its own frames and no others; `offsets` (first row of each clip);
`source_sizes` (clips, 2) int32, (width, height) of each video.
"""

from __future__ import annotations

from collections.abc import Mapping

import h5py
import numpy as np

from keras_actrec.cache.reader import CacheReader, read_rows
from keras_actrec.cache.schema import FLOW, CacheOptions
from keras_actrec.cache.writer import ShardWriter, new_dataset
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ConfigError
from keras_actrec.video.optical_flow import PLANES, FlowConfig, mirrored_stacks, stack_frames

_GZIP = 4
"""A fifth smaller than at level 1 on videos of JHMDB, for a twentieth of what computing the flow takes."""


def flow_stream(config: FlowConfig) -> dict[str, object]:
    """What decides the values of flow, as JSON values: the options of a cache, and `FlowCache.stream`."""
    stream = {"method": config.method, "picture_size": list(config.picture_size), "bound": float(config.bound)}
    return stream | ({"preset": config.preset} if config.method == "dis" else {})


def flow_cache_options(dataset: str, flow: FlowConfig, *, given_lengths: bool = False) -> CacheOptions:
    """Options of the cache that `extract_flow` writes with these arguments; what a reader expects.

    Args:
        dataset: name of the data set.
        flow: how the flow is computed.
        given_lengths: whether the lengths of the clips were given, or all frames of the videos are there.
    """
    frames = "given" if given_lengths else "all"
    return CacheOptions(FLOW, dataset, "", {**flow_stream(flow), "frames": frames})


class FlowShardWriter(ShardWriter):
    """A shard of the cache of optical flow. Clips are written one after the other, each in order of frames."""

    def _create(self) -> None:
        self._shape = (2, *(int(side) for side in self._options.options["picture_size"]))
        self._flow = self._file.create_dataset(
            "flow", (0, *self._shape), np.uint8, maxshape=(None, *self._shape), chunks=(1, *self._shape),
            compression="gzip", compression_opts=_GZIP, fletcher32=True,
        )  # fmt: skip
        self._offsets: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        self._end = 0
        self._clip: str | None = None

    def begin_clip(self, clip_id: str, source_size: tuple[int, int]) -> None:
        """Starts a clip. `source_size`: (width, height) of its video in pixels."""
        self._clip, self._size, self._count = clip_id, source_size, 0

    def write(self, flow: np.ndarray) -> None:
        """Adds the next frame of flow of the clip that was begun.

        Args:
            flow: uint8 (H, W, 2), as `flow_frames` gives it.

        Raises:
            ConfigError: it is of another type or size than the cache.
            DiskFullError: no space left.
        """
        _, height, width = self._shape
        if flow.shape != (height, width, 2) or flow.dtype != np.uint8:
            raise ConfigError(
                "a frame of flow does not fit the cache", place=f"clip {self._clip}", found=f"{flow.dtype} {flow.shape}",
                expected=f"uint8 ({height}, {width}, 2)",
            )  # fmt: skip
        with self._guard(f"clip {self._clip}", flow.nbytes):
            row = self._end + self._count
            self._flow.resize(row + 1, axis=0)
            self._flow[row] = np.ascontiguousarray(np.moveaxis(flow, 2, 0))
        self._count += 1

    def end_clip(self) -> None:
        """The clip that was begun is whole. Raises ConfigError where it has no frame."""
        if not self._count:
            raise ConfigError("a clip of optical flow has at least one frame", place=f"clip {self._clip}")
        self._offsets.append(self._end)
        self._sizes.append(self._size)
        self._lengths[self._clip] = self._count
        self._end += self._count
        self._clip = None

    def discard_clip(self, left_out: LeftOut) -> None:
        """The clip stays out: what of it was written is given back."""
        if self._clip is not None:
            with self._guard(f"clip {self._clip}", 0):
                self._flow.resize(self._end, axis=0)
            self._clip = None
        self.leave_out(left_out)

    def _close_clips(self) -> None:
        new_dataset(self._file, "offsets", np.array(self._offsets, np.int64))
        new_dataset(self._file, "source_sizes", np.array(self._sizes, np.int32).reshape(-1, 2))


class FlowCache(CacheReader):
    """The cache of optical flow; arguments and errors of `CacheReader`.

    It gives `Pictures` (`video/clip_pictures.py`): the stack of 5 frames of flow from a frame on is the picture of that frame.

    Attributes:
        channels: planes of a stack, 10.
    """

    kind = FLOW
    channels = PLANES

    @property
    def flow_config(self) -> FlowConfig:
        """How the flow was computed."""
        options = self.options.options
        preset = {"preset": options["preset"]} if "preset" in options else {}
        return FlowConfig(options["method"], self.picture_size, options["bound"], **preset)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the flow."""
        height, width = self.options.options["picture_size"]
        return int(height), int(width)

    @property
    def stream(self) -> Mapping[str, object]:
        """How the flow was computed, as JSON values."""
        return flow_stream(self.flow_config)

    def source_size(self, clip_id: str) -> tuple[int, int]:
        """(width, height) of the clip's video in pixels. Raises CacheError: an unknown clip, or a damaged shard."""

        def size(file: h5py.File) -> np.ndarray:
            return file["source_sizes"][np.searchsorted(file["offsets"][()], self._offsets[clip_id])]

        width, height = self._read(self._place(clip_id), size, f"clip {clip_id}, source size")
        return int(width), int(height)

    def flow(self, clip_id: str, frames: np.ndarray | None = None) -> np.ndarray:
        """Frames of flow as they are stored.

        Args:
            clip_id: the clip.
            frames: int (n,), in any order, repeats allowed; None takes all.

        Returns:
            uint8 (n, H, W, 2), x and y.

        Raises:
            CacheError: an unknown clip, a frame outside it, or a damaged shard.
        """
        self._place(clip_id)
        frames = np.arange(self._lengths[clip_id]) if frames is None else self._checked(clip_id, frames)
        return np.ascontiguousarray(np.moveaxis(self._planes(clip_id, frames), 1, 3))

    def pictures(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """Stacks of flow that begin at chosen frames; nothing but their frames is read, each once.

        Args:
            clip_id: the clip.
            frames: int (n,), in any order, repeats allowed.

        Returns:
            uint8 (n, H, W, 10): x, y of frame t, x, y of frame t + 1, …; after the end of the clip its last frame again.

        Raises:
            CacheError: an unknown clip, a frame outside it, or a damaged shard.
        """
        rows = stack_frames(self._checked(clip_id, frames), self._lengths[clip_id], self.channels)
        planes = self._planes(clip_id, rows.reshape(-1)).reshape(len(rows), self.channels, *self.picture_size)
        return np.ascontiguousarray(np.moveaxis(planes, 1, 3))

    def mirrored(self, pictures: np.ndarray) -> np.ndarray:
        """The stacks (…, H, W, 10) of the mirrored video, see `mirrored_stacks`."""
        return mirrored_stacks(pictures)

    def _checked(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        return self._checked_frames([clip_id], np.asarray(frames)[None])[0]

    def _planes(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """uint8 (n, 2, H, W)."""
        if not len(frames):
            return np.zeros((0, 2, *self.picture_size), np.uint8)
        rows = self._offsets[clip_id] + frames
        return self._read(self._place(clip_id), lambda file: read_rows(file["flow"], rows), f"clip {clip_id}, flow")
