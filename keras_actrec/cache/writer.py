"""Writing one shard: under a `.part` name until it is whole, then renamed. A shard is written by one process."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np

from keras_actrec.cache.disk import SafeFile
from keras_actrec.cache.reader import TEXT_CHECKSUM, text_checksum
from keras_actrec.cache.schema import SCHEMA_VERSION, CacheIndex
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, DiskFullError, is_disk_full
from keras_actrec.files import machine_name, process_runs
from keras_actrec.version import library_versions

_FOREIGN_PART_AGE = 24 * 3600.0
_PART = re.compile(r"\.(?P<host>[^.]+)\.(?P<pid>\d+)\.part$")
# HDF5 1.10's own format: object headers and chunk indices carry checksums, which older formats do not have.
_FORMAT = ("v110", "v110")


def part_name(name: str) -> str:
    """What this process calls a file that it has not finished; `remove_stale_parts` knows by it whose it is."""
    return f"{name}.{machine_name()}.{os.getpid()}.part"


def remove_stale_parts(directory: str | Path) -> list[Path]:
    """Removes the unfinished shards and indices of dead runs, and their folders of unfinished clips.

    To be called before this process writes a shard. A part belongs to a dead run if its process is gone; one of another
    machine, whose processes cannot be seen from here, if nobody has written to it for a day.

    Returns:
        The files and folders removed.
    """
    removed = []
    for part in sorted(Path(directory).glob("*.part")):
        match = _PART.search(part.name)
        if match is None:
            continue
        try:
            if match["host"] == machine_name():
                stale = not process_runs(int(match["pid"]))
            else:
                stale = time.time() - part.stat().st_mtime > _FOREIGN_PART_AGE
            if stale:
                _remove(part)
                removed.append(part)
        except FileNotFoundError:  # finished or removed by another process meanwhile
            continue
    return removed


def remove_parts_of(directory: str | Path, host: str, process: int) -> None:
    """Removes what a process has not finished of which is known that it is gone, on whatever machine.

    Args:
        directory: the cache.
        host: the machine's name (`socket.gethostname`).
        process: its number there.
    """
    for part in Path(directory).glob(f"*.h5.{machine_name(host)}.{process}.part"):
        with suppress(FileNotFoundError):
            _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()


def _sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ShardWriter:
    """A shard while it is written; a context manager. Leaving it without `finish()` leaves no file behind.

    Args:
        directory: folder of the cache.
        index: its plan.
        shard: number of the shard in the plan.
    """

    def __init__(self, directory: str | Path, index: CacheIndex, shard: int):
        self.path = Path(directory) / index.shard_name(shard)
        self._part = self.path.with_name(part_name(self.path.name))
        self._planned = index.shards[shard]
        self._options = index.options
        self._lengths: dict[str, int] = {}
        self._left_out: list[LeftOut] = []
        self._disk: SafeFile | None = None
        self._file: h5py.File | None = None
        self._bytes = 0

    def __enter__(self) -> ShardWriter:
        with self._guard("root attributes", 0):
            self._disk = SafeFile(self._part)
            self._file = h5py.File(self._disk, "w", libver=_FORMAT)
            options = self._options
            self._file.attrs["schema_version"] = SCHEMA_VERSION
            self._file.attrs["kind"] = options.kind
            self._file.attrs["dataset"] = options.dataset
            self._file.attrs["layout"] = options.layout
            self._file.attrs["options"] = json.dumps(options.options, sort_keys=True)
            self._file.attrs["weights_checksum"] = options.weights_checksum
            self._file.attrs["library_versions"] = json.dumps(library_versions(), sort_keys=True)
            self._create()
        return self

    def __exit__(self, *_) -> None:
        self._abandon()

    def _create(self) -> None:
        """Datasets that a kind of shard holds from the start."""

    def _close_clips(self) -> None:
        """Datasets that a kind of shard can write only when all clips are known."""

    def leave_out(self, left_out: LeftOut) -> None:
        """Notes that a clip of the plan is not in this shard, and why."""
        self._left_out.append(left_out)

    def finish(self) -> Path:
        """Flushes, closes, syncs and renames the shard.

        Raises:
            CacheError: a clip of the plan was neither written nor left out.
            DiskFullError: no space left; the unfinished file is gone.
        """
        seen = [*self._lengths, *(entry.clip_id for entry in self._left_out)]
        if sorted(seen) != sorted(self._planned):
            odd = sorted(set(self._planned).symmetric_difference(seen)) or sorted({c for c in seen if seen.count(c) > 1})
            raise CacheError(
                "a shard must hold or leave out each of its clips once", file=self.path, place=f"clips {', '.join(odd[:5])}"
            )
        with self._guard("end of the shard", 0):
            self._file.attrs["left_out"] = json.dumps([asdict(entry) for entry in self._left_out])
            new_dataset(self._file, "clip_ids", np.array([clip.encode() for clip in self._lengths], dtype=np.bytes_))
            new_dataset(self._file, "lengths", np.array(list(self._lengths.values()), np.int64))
            self._close_clips()
            self._file.attrs[TEXT_CHECKSUM] = text_checksum(self._file)
            self._file.close()
            self._disk.sync()
        self._abandon(keep=True)
        os.replace(self._part, self.path)
        _sync_folder(self.path.parent)
        return self.path

    def _abandon(self, *, keep: bool = False) -> None:
        """Closes the unfinished file and, unless it is to be kept, removes it. Doing it twice is fine."""
        if self._file is not None:
            self._file.close()
        if self._disk is not None:
            self._disk.close()
        self._file = self._disk = None
        if not keep:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _guard(self, place: str, size: int) -> Iterator[None]:
        """Around every step that writes: raises DiskFullError if the disk did not take it, without a file left behind.

        `size`: bytes about to be written.
        """
        self._bytes += size
        try:
            yield
        except Exception as error:
            if self._disk is None or self._disk.error is None:
                if isinstance(error, OSError):
                    self._raise_disk_error(error, place)
                raise
        if self._disk is not None and self._disk.error is not None:
            self._raise_disk_error(self._disk.error, place)

    def _raise_disk_error(self, error: OSError, place: str) -> NoReturn:
        self._abandon()
        if not is_disk_full(error):
            raise error
        raise DiskFullError(
            f"no space left to write the shard ({error.strerror})",
            file=self.path,
            place=place,
            found=f"{shutil.disk_usage(self.path.parent).free} bytes free",
            expected=f"more than {max(self._bytes, 1)} bytes for this shard so far",
            fix="free some space and run the same command again: finished shards are kept",
        ) from error


class PoseShardWriter(ShardWriter):
    """A shard of the pose cache."""

    def _create(self) -> None:
        self._file.create_group("clips")

    def add(
        self,
        clip_id: str,
        *,
        joints: np.ndarray,
        pixels: np.ndarray,
        test_frames: np.ndarray,
        test_tensors: np.ndarray,
        cleaning: Mapping[str, object],
    ) -> None:
        """Writes one clip.

        Args:
            clip_id: its name.
            joints: float32 (T, 2, J, 3), metres, NaN where a body is absent.
            pixels: float32 (T, 2, J, 2), NaN where there is none.
            test_frames: int32 (K, F).
            test_tensors: float32 (K, F, W, 3).
            cleaning: what cleaning did, JSON values.

        Raises:
            DiskFullError: no space left.
        """
        arrays = {"joints": joints, "pixels": pixels, "test_frames": test_frames}
        size = sum(array.nbytes for array in arrays.values()) + test_tensors.nbytes
        with self._guard(f"clip {clip_id}", size):
            group = self._file["clips"].create_group(clip_id)
            for name, array in arrays.items():
                new_dataset(group, name, np.asarray(array, np.int32 if name == "test_frames" else np.float32))
            # One chunk per sub-sequence; lzf because half the columns of a one-person clip are zeros.
            new_dataset(group, "test_tensors", np.asarray(test_tensors, np.float32), rows=1, compression="lzf")
            group.attrs["cleaning"] = json.dumps(dict(cleaning), sort_keys=True)
        self._lengths[clip_id] = len(joints)


class FeatureShardWriter(ShardWriter):
    """A shard of the hand-feature cache. Clips are written one after the other, each in order of frames.

    A chunk holds one person's two hands in one frame: those of absent people are never written and take no disk.
    """

    hands, feature_size = 4, 2048

    def _create(self) -> None:
        tail = (self.hands, self.feature_size)
        self._features = self._file.create_dataset(
            "features", (0, *tail), np.float16, maxshape=(None, *tail), chunks=(1, 2, tail[1]), fletcher32=True, fillvalue=0
        )
        self._offsets: list[int] = []
        self._masks: list[np.ndarray] = []
        self._end = 0
        self._clip: str | None = None

    def begin_clip(self, clip_id: str, length: int) -> None:
        """Starts a clip of `length` frames, all hands absent until written."""
        with self._guard(f"clip {clip_id}", 0):
            self._features.resize(self._end + length, axis=0)
        self._clip, self._mask = clip_id, np.zeros((length, self.hands), bool)

    def write(self, frames: np.ndarray, hands: np.ndarray, features: np.ndarray) -> None:
        """Writes feature vectors of the clip that was begun.

        Args:
            frames: int (m,), frame in the clip; not decreasing.
            hands: int (m,), 0..3: person 1 left, person 1 right, person 2 left, person 2 right.
            features: (m, 2048), stored as float16.

        Raises:
            DiskFullError: no space left.
        """
        if not len(frames):
            return
        first, last = int(frames[0]), int(frames[-1])
        block = np.zeros((last - first + 1, self.hands, self.feature_size), np.float16)
        present = np.zeros(block.shape[:2], bool)
        block[frames - first, hands] = features
        present[frames - first, hands] = True
        with self._guard(f"clip {self._clip}", features.size * 2):
            for start, stop in _runs(present):
                for columns in _columns(present[start]):
                    rows = slice(self._end + first + start, self._end + first + stop)
                    self._features[rows, columns] = block[start:stop, columns]
        self._mask[first : last + 1] |= present

    def end_clip(self) -> None:
        """The clip that was begun is whole."""
        self._offsets.append(self._end)
        self._masks.append(self._mask)
        self._lengths[self._clip] = len(self._mask)
        self._end += len(self._mask)
        self._clip = None

    def discard_clip(self, left_out: LeftOut) -> None:
        """The clip that was begun stays out: its rows are given back."""
        if self._clip is not None:
            with self._guard(f"clip {self._clip}", 0):
                self._features.resize(self._end, axis=0)
            self._clip = None
        self.leave_out(left_out)

    def _close_clips(self) -> None:
        masks = np.concatenate(self._masks) if self._masks else np.zeros((0, self.hands), bool)
        new_dataset(self._file, "mask", masks)
        new_dataset(self._file, "offsets", np.array(self._offsets, np.int64))


def new_dataset(group: h5py.Group, name: str, array: np.ndarray, *, rows: int | None = None, compression: str | None = None):
    """A dataset whose every chunk carries a Fletcher-32 checksum. `rows`: leading rows per chunk; all by default."""
    if array.size == 0:  # an empty array has no chunks to protect
        if array.dtype.kind == "S":
            array = array.astype("S1")
        return group.create_dataset(name, data=array)
    chunks = (rows or min(len(array), 64), *array.shape[1:])
    return group.create_dataset(name, data=array, chunks=chunks, compression=compression, fletcher32=True)


def _runs(present: np.ndarray) -> Iterator[tuple[int, int]]:
    """(start, stop) of rows in a row with the same hands, rows without any left out. present: bool (n, 4)."""
    edges = np.flatnonzero((present[1:] != present[:-1]).any(axis=1)) + 1
    for start, stop in zip([0, *edges], [*edges, len(present)], strict=True):
        if present[start].any():
            yield int(start), int(stop)


def _columns(row: np.ndarray) -> Iterator[slice]:
    """Slices of neighbouring hands that are present, never across two people. row: bool (4,)."""
    for person in (0, 2):
        hands = [hand for hand in (person, person + 1) if row[hand]]
        if hands:
            yield slice(hands[0], hands[-1] + 1)
