"""Chunks of a feature shard straight from its file: several threads at once, where HDF5 lets one read at a time.

HDF5 says where each chunk is; after that a random frame costs two system calls and its checksum. Only what `FeatureShardWriter`
writes is read in this way: chunks of one frame and one person, float16, with a Fletcher-32 checksum and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

_VALUES = 2 * 2048
"""Of a chunk: two hands."""
_BYTES, _CHECKSUM = 2 * _VALUES, 4
_SIDE = 64
"""Words of a chunk as a square of 64 by 64, for its checksum."""
_WEIGHTS = np.arange(_SIDE, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ChunkTable:
    """Where the chunks of a shard are.

    Attributes:
        places: (rows, 2 people), first byte of each chunk; 0 for one that was never written.
        stamp: of the file that was looked at, see `stamp`.
    """

    places: np.ndarray
    stamp: tuple[int, ...]


def stamp(descriptor: int) -> tuple[int, ...]:
    """What tells an open file from another one that takes its name later."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def chunk_table(path: Path) -> ChunkTable | None:
    """The table of a shard, 8 bytes per frame; None where chunks have to be left to HDF5, as on Windows.

    Raises:
        OSError, KeyError, RuntimeError: the shard is damaged.
    """
    if not hasattr(os, "preadv"):
        return None
    with h5py.File(path, "r", locking="best-effort") as file:
        dataset = file["features"]
        filters = dataset.id.get_create_plist()
        plain = (
            file.userblock_size == 0
            and dataset.dtype == np.dtype("<f2")
            and dataset.shape[1:] == (4, _VALUES // 2)
            and dataset.chunks == (1, 2, _VALUES // 2)
            and filters.get_nfilters() == 1
            and filters.get_filter(0)[0] == h5py.h5z.FILTER_FLETCHER32
        )
        if not plain:
            return None
        chunks: list[h5py.h5d.StoreInfo] = []
        dataset.id.chunk_iter(chunks.append)
        if any(chunk.filter_mask or chunk.size != _BYTES + _CHECKSUM for chunk in chunks):
            return None
        found = stamp(file.id.get_vfd_handle())
        places = np.zeros((len(dataset), 2), np.uint32 if found[2] < 2**32 else np.uint64)
        for chunk in chunks:
            row, hand, _ = chunk.chunk_offset
            places[row, hand // 2] = chunk.byte_offset
    return ChunkTable(places, found)


def read_chunks(descriptor: int, places: np.ndarray, out: np.ndarray) -> None:
    """Reads chunks and checks them.

    Args:
        descriptor: the open shard.
        places: (n, 2), rows of `ChunkTable.places`.
        out: float16 (n, 4, 2048), C-contiguous, zeros: where a chunk was never written, they stay.

    Raises:
        OSError: a chunk does not read, or is not what was written.
    """
    if hasattr(os, "posix_fadvise"):  # a disk has several requests at once to work on, not one after the other
        for place in places[places > 0].tolist():
            os.posix_fadvise(descriptor, place, _BYTES + _CHECKSUM, os.POSIX_FADV_WILLNEED)
    hands = out.reshape(*places.shape, _VALUES).view("<u2")
    for person in range(places.shape[1]):
        rows = np.flatnonzero(places[:, person])
        if not rows.size:
            continue
        sums = np.empty((len(rows), _CHECKSUM), np.uint8)
        for row, place, end in zip(rows.tolist(), places[rows, person].tolist(), sums, strict=True):
            if os.preadv(descriptor, (hands[row, person], end), place) != _BYTES + _CHECKSUM:
                raise OSError("the file ends inside a chunk")
        if (_reduced(sums.view("<u4")[:, 0]) != fletcher32(hands[rows, person])).any():
            raise OSError("the checksum of a chunk is wrong")


def fletcher32(words: np.ndarray) -> np.ndarray:
    """HDF5's Fletcher-32 of rows of 4096 words, each of two bytes; both halves modulo 65535.

    With words w_0 … w_(n-1) it is Σ w_i, and above that Σ (n - i) w_i, modulo 65535. HDF5 takes the first byte of a word for
    the high one; swapping the bytes of a word multiplies it by 256 modulo 65535, so this can be done to the sums.

    Args:
        words: uint16 (n, 4096), little-endian.

    Returns:
        int64 (n, 2).
    """
    square = words.reshape(-1, _SIDE, _SIDE)
    rows = square.sum(axis=2, dtype=np.uint32).astype(np.int64)
    columns = square.sum(axis=1, dtype=np.uint32).astype(np.int64)
    first = rows.sum(axis=1)
    second = rows @ (_VALUES - _SIDE * _WEIGHTS) - columns @ _WEIGHTS  # word i = 64 r + c: n - i = (n - 64 r) - c
    return np.stack([first, second], axis=1) * 256 % 65535


def _reduced(stored: np.ndarray) -> np.ndarray:
    """Checksums as HDF5 stores them, uint32 (n,) → their halves modulo 65535, int64 (n, 2)."""
    stored = stored.astype(np.int64)
    return np.stack([stored & 0xFFFF, stored >> 16], axis=1) % 65535


class ChunkTables:
    """The tables of the shards that this process has read, made when first asked for; threads may share it.

    They are left out of a pickle. After a fork they serve both processes: no file stays open between two reads.
    """

    def __init__(self):
        self._tables: dict[Path, ChunkTable | None] = {}

    def read(self, path: Path, rows: np.ndarray, out: np.ndarray) -> bool:
        """Reads rows of a shard (n,) into `out`, see `read_chunks`; False where they have to be read by HDF5.

        Raises:
            OSError, KeyError, RuntimeError: the shard is damaged.
        """
        table = self._tables[path] if path in self._tables else self._look(path)
        if table is None:
            return False
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if stamp(descriptor) != table.stamp:  # repaired meanwhile: another file of the same name
                self._look(path)
                return False
            read_chunks(descriptor, table.places[rows], out)
        finally:
            os.close(descriptor)
        return True

    def _look(self, path: Path) -> ChunkTable | None:
        table = self._tables[path] = chunk_table(path)
        return table

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()
