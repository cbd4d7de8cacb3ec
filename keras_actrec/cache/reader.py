"""Reading caches: only the frames asked for, from any process, after a check of every option."""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np

from keras_actrec.cache.feature_chunks import ChunkTables
from keras_actrec.cache.schema import (
    CLIP_MAPS,
    FLOW,
    FRAME_CUBES,
    GLIMPSE_MAPS,
    HAND_FEATURES,
    PERSON_CLIPS,
    POSES,
    SCHEMA_VERSION,
    CacheOptions,
    check_options,
    load_index,
)
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, ConfigError

_DAMAGED = "run preprocessing/verify_cache.py with --repair on the cache, then the extraction again"
_GO_ON = {
    POSES: "run preprocessing/extract_poses.py again with the same options: it goes on from here",
    HAND_FEATURES: "run preprocessing/extract_hand_features.py again with the same options: it goes on from here",
    PERSON_CLIPS: "run preprocessing/extract_person_clips.py again with the same options: it goes on from here",
    CLIP_MAPS: "run preprocessing/extract_clip_maps.py again with the same options: it goes on from here",
    GLIMPSE_MAPS: "run preprocessing/extract_glimpse_maps.py again with the same options: it goes on from here",
    FRAME_CUBES: "run preprocessing/extract_frame_cubes.py again with the same options: it goes on from here",
    FLOW: "run preprocessing/extract_flow.py again with the same options: it goes on from here",
}
HEADER_DAMAGE = (OSError, KeyError, ValueError, TypeError, RuntimeError, ConfigError)
"""What `read_header` raises for a damaged shard."""
TEXT_CHECKSUM = "text_checksum"
"""Root attribute: `text_checksum` of the shard. Shards of earlier versions do not have it."""
_WITH_OFFSETS = (HAND_FEATURES, PERSON_CLIPS, FLOW)


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says about itself: options, clips with lengths and (`_WITH_OFFSETS`) first rows, clips left out."""

    options: CacheOptions
    schema_version: int
    lengths: Mapping[str, int]
    offsets: Mapping[str, int]
    left_out: tuple[LeftOut, ...]
    library_versions: Mapping[str, str]


def read_header(file: h5py.File) -> ShardHeader:
    """Reads the root attributes and the clip list of an open shard. Raises KeyError, ValueError or OSError if damaged."""
    text = {name: file.attrs[name] for name in ("kind", "dataset", "layout", "weights_checksum")}
    options = CacheOptions(options=json.loads(file.attrs["options"]), **text)
    ids = [clip.decode() for clip in file["clip_ids"][()]]
    lengths = dict(zip(ids, (int(length) for length in file["lengths"][()]), strict=True))
    rows = file["offsets"][()] if options.kind in _WITH_OFFSETS else ()
    offsets = {clip: int(row) for clip, row in zip(ids, rows, strict=True)} if len(rows) else {}
    left_out = tuple(LeftOut(**entry) for entry in json.loads(file.attrs["left_out"]))
    versions = json.loads(file.attrs["library_versions"])
    return ShardHeader(options, int(file.attrs["schema_version"]), lengths, offsets, left_out, versions)


def text_checksum(file: h5py.File) -> int:
    """CRC-32 of the text of a shard: its attributes, and those of its clips. Raises KeyError and others if damaged.

    HDF5 guards values and its own tables by checksums, but not the heap in which text of any length is.
    """
    groups = [file, *(file["clips"][clip] for clip in file.get("clips", ()))]
    text = [(group.name, name, value) for group in groups for name, value in group.attrs.items() if isinstance(value, str)]
    return zlib.crc32(json.dumps(sorted(text)).encode())


class _OpenShards:
    """A bounded set of open HDF5 files that belongs to one process. HDF5 handles must not cross a fork or a pickle."""

    def __init__(self, limit: int):
        self._limit = limit
        self._start()

    def _start(self) -> None:
        self._pid, self.lock, self._files = os.getpid(), threading.RLock(), OrderedDict()

    def get(self, path: Path) -> h5py.File:
        """The open file of a shard. Call it, and read from what it returns, with `lock` held."""
        if path in self._files:
            self._files.move_to_end(path)
        else:
            while len(self._files) >= self._limit:
                self._files.popitem(last=False)[1].close()
            self._files[path] = h5py.File(path, "r", locking="best-effort")
        return self._files[path]

    def check_process(self) -> None:
        """After a fork, forgets the parent's handles without closing them: they share the parent's file positions."""
        if self._pid != os.getpid():
            self._inherited = self._files
            self._start()

    def close(self) -> None:
        self.check_process()
        with self.lock:
            while self._files:
                self._files.popitem()[1].close()

    def __getstate__(self) -> dict:
        return {"limit": self._limit}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["limit"])


class CacheReader:
    """A cache: its options, clips and shards. It can be pickled and used after a fork; files open when first read.

    Args:
        directory: folder of the cache.
        expected: options that the cache must have; None takes any.
        allow_incomplete: also read a cache some of whose shards are not there yet.
        open_shards: shards open at once per process.

    Attributes:
        directory, options.
        lengths: clip id -> number of frames T, for the clips that are there.
        left_out: clips that the extraction left out, with reasons.
        missing_shards: numbers of the shards that are not there.

    Raises:
        CacheError: there is no cache, it has another schema version or other options, a shard is damaged, or shards are
            missing.
    """

    kind: str | None = None

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        open_shards: int = 16,
    ):
        self.directory = Path(directory)
        index = load_index(self.directory)
        self.options = index.options
        if self.kind is not None and self.options.kind != self.kind:
            raise CacheError("the cache is of another kind", file=directory, found=self.options.kind, expected=self.kind)
        if expected is not None:
            check_options(self.options, expected, self.directory)
        self.missing_shards = tuple(index.missing(self.directory))
        if self.missing_shards and not allow_incomplete:
            raise CacheError(
                "the cache is not complete",
                file=self.directory,
                found=f"{len(self.missing_shards)} of {len(index.shards)} shards missing",
                fix=_GO_ON[self.options.kind],
            )
        self._shards = _OpenShards(open_shards)
        self._places: dict[str, Path] = {}
        self._offsets: dict[str, int] = {}
        lengths: dict[str, int] = {}
        left_out: list[LeftOut] = []
        for shard in sorted(set(range(len(index.shards))) - set(self.missing_shards)):
            header = self._header(self.directory / index.shard_name(shard))
            lengths |= header.lengths
            self._offsets |= header.offsets
            left_out += header.left_out
            self._places |= dict.fromkeys(header.lengths, self.directory / index.shard_name(shard))
        self._lengths, self.left_out = lengths, tuple(left_out)

    def _header(self, path: Path) -> ShardHeader:
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                header = read_header(file)
        except HEADER_DAMAGE as error:
            raise CacheError(f"the shard does not read: {error}", file=path, fix=_DAMAGED) from error
        if header.schema_version != SCHEMA_VERSION:
            raise CacheError("another schema version", file=path, found=header.schema_version, expected=SCHEMA_VERSION)
        check_options(header.options, self.options, path)
        return header

    @property
    def lengths(self) -> Mapping[str, int]:
        return MappingProxyType(self._lengths)

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Clips that are there, in the order of the shards."""
        return tuple(self._lengths)

    def close(self) -> None:
        """Closes the shards that this process has open; they open again when read."""
        self._shards.close()

    def __enter__(self) -> CacheReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self):
        with suppress(Exception):
            self.close()

    def _place(self, clip_id: str) -> Path:
        try:
            return self._places[clip_id]
        except KeyError:
            raise CacheError(
                "the cache has no such clip",
                file=self.directory,
                place=f"clip {clip_id}",
                fix="it was left out or never extracted: see `left_out`, or run the extraction for it",
            ) from None

    def _read(self, path: Path, read: Callable[[h5py.File], object], place: str):
        """`read(file)` of an open shard; a damaged shard becomes a CacheError."""
        self._shards.check_process()
        with self._shards.lock:
            try:
                return read(self._shards.get(path))
            except (OSError, KeyError, RuntimeError) as error:
                raise _damaged(path, place, error) from error

    def _checked_frames(self, ids: Sequence[str], frames: np.ndarray) -> np.ndarray:
        frames = np.asarray(frames)
        if frames.ndim != 2 or len(frames) != len(ids) or frames.dtype.kind not in "iu":
            raise CacheError(
                "frames do not fit the clips", found=f"{frames.shape} {frames.dtype}", expected=f"integers ({len(ids)}, F)"
            )
        lengths = np.array([self._lengths[clip_id] if self._place(clip_id) else 0 for clip_id in ids], np.int64)
        outside = (frames < 0) | (frames >= lengths[:, None])
        if outside.any():
            clip, position = np.argwhere(outside)[0]
            raise CacheError(
                "there is no such frame",
                file=self._place(ids[clip]),
                place=f"clip {ids[clip]}",
                found=int(frames[clip, position]),
                expected=f"0..{lengths[clip] - 1}",
            )
        return frames.astype(np.int64)


class PoseCache(CacheReader):
    """The pose cache."""

    kind = POSES

    def joints(self, clip_id: str) -> np.ndarray:
        """Cleaned joints, float32 (T, 2, J, 3), metres; NaN where a body is absent."""
        return self._clip_array(clip_id, "joints")

    def pixels(self, clip_id: str) -> np.ndarray:
        """Joints in the video, float32 (T, 2, J, 2), (x, y) in pixels; NaN where there is none."""
        return self._clip_array(clip_id, "pixels")

    def test_frames(self, ids: Sequence[str]) -> np.ndarray:
        """Frames of the test sub-sequences, int32 (n, K, F)."""
        return np.stack([self._clip_array(clip_id, "test_frames") for clip_id in ids])

    def test_tensors(self, ids: Sequence[str]) -> np.ndarray:
        """Pose tensors of the test sub-sequences, float32 (n, K, F, W, 3)."""
        return np.stack([self._clip_array(clip_id, "test_tensors") for clip_id in ids])

    def cleaning(self, clip_id: str) -> dict:
        """What cleaning did to the clip."""
        path = self._place(clip_id)
        return json.loads(self._read(path, lambda file: file["clips"][clip_id].attrs["cleaning"], f"clip {clip_id}"))

    def _clip_array(self, clip_id: str, name: str) -> np.ndarray:
        path = self._place(clip_id)
        return self._read(path, lambda file: file["clips"][clip_id][name][()], f"clip {clip_id}, {name}")


class FeatureCache(CacheReader):
    """The hand-feature cache. Threads may read it at once; of features, none waits for another."""

    kind = HAND_FEATURES

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        open_shards: int = 16,
    ):
        super().__init__(directory, expected, allow_incomplete=allow_incomplete, open_shards=open_shards)
        self._chunks = ChunkTables()

    def features(self, ids: Sequence[str], frames: np.ndarray) -> np.ndarray:
        """Hand features of chosen frames.

        Args:
            ids: n clip ids.
            frames: int (n, F), frames of each clip, in any order, repeats allowed.

        Returns:
            float16 (n, F, 4, 2048): person 1 left and right hand, person 2 left and right; zeros where a hand is absent.

        Raises:
            CacheError: an unknown clip, a frame outside it, or a damaged shard.
        """
        frames = self._checked_frames(ids, frames)
        result = np.zeros((*frames.shape, 4, 2048), np.float16)
        for out, clip_id, row in zip(result, ids, frames, strict=True):
            unique, order = np.unique(row, return_inverse=True)
            if len(unique) == len(row):  # sub-sequences of training: as they are
                self._read_features(clip_id, row, out)
            else:
                rows = np.zeros((len(unique), 4, 2048), np.float16)
                self._read_features(clip_id, unique, rows)
                np.take(rows, order, axis=0, out=out)
        return result

    def mask(self, ids: Sequence[str], frames: np.ndarray) -> np.ndarray:
        """Which hands exist, bool (n, F, 4); arguments and errors as for `features`."""
        frames = self._checked_frames(ids, frames)
        result = np.empty((*frames.shape, 4), bool)
        for out, clip_id, row in zip(result, ids, frames, strict=True):
            self._read_by_hdf5("mask", clip_id, row, out)
        return result

    def _read_features(self, clip_id: str, frames: np.ndarray, out: np.ndarray) -> None:
        """Features of frames (F,) of a clip into `out`, float16 zeros (F, 4, 2048)."""
        path = self._place(clip_id)
        try:
            done = self._chunks.read(path, frames + self._offsets[clip_id], out)
        except (OSError, KeyError, RuntimeError) as error:
            raise _damaged(path, f"clip {clip_id}, features", error) from error
        if not done:
            self._read_by_hdf5("features", clip_id, frames, out)

    def _read_by_hdf5(self, name: str, clip_id: str, frames: np.ndarray, out: np.ndarray) -> None:
        rows = frames + self._offsets[clip_id]
        place = f"clip {clip_id}, {name}"
        out[:] = self._read(self._place(clip_id), lambda file: read_rows(file[name], rows), place)


def _damaged(path: Path, place: str, error: Exception) -> CacheError:
    return CacheError(f"the shard does not read: {error}", file=path, place=place, fix=_DAMAGED)


def read_rows(dataset: h5py.Dataset, wanted: np.ndarray) -> np.ndarray:
    """Rows of a dataset in the order of `wanted`; each row is read once and nothing else is."""
    unique, order = np.unique(wanted, return_inverse=True)
    rows = np.empty((len(unique), *dataset.shape[1:]), dataset.dtype)
    # One read per run of neighbouring rows: h5py's own fancy indexing costs ten times as much per row.
    starts = np.flatnonzero(np.diff(unique, prepend=-2) != 1)
    for start, stop in zip(starts, [*starts[1:], len(unique)], strict=True):
        rows[start:stop] = dataset[unique[start] : unique[stop - 1] + 1]
    return rows[order]
