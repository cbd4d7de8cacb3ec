"""What the index of an AVI file says about its frames without any being decoded."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_CHUNK = struct.Struct("<4sI")
_ENTRY = struct.Struct("<4s4xII")
_VIDEO = (b"dc", b"db")
"""Ends of the names of chunks that hold a frame, compressed or not."""


def empty_frames(path: str | Path) -> int:
    """Frames that the header of an AVI file counts although they hold nothing: a player shows the frame before once more.

    Programs that raise the frame rate write them: of the 48 frames of a published video of JHMDB 8 are empty, and its joints
    are those of the 40 others. FFmpeg passes over them, so that as many frames fewer are decoded than the header promises.

    Args:
        path: a file of any kind.

    Returns:
        Their number according to the file's index ("idx1"); 0 where the file is no AVI or has no index.
    """
    with open(path, "rb") as file:
        start = file.read(12)
        if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"AVI ":
            return 0
        index = _index(file)
    entries = _ENTRY.iter_unpack(index[: len(index) - len(index) % _ENTRY.size])
    return sum(name[2:] in _VIDEO and size == 0 for name, _, size in entries)


def _index(file: BinaryIO) -> bytes:
    """The bytes of the chunk "idx1" among those that follow in the file; none where there is no such chunk."""
    while len(header := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(header)
        if name == b"idx1":
            left = os.fstat(file.fileno()).st_size - file.tell()
            return file.read(min(size, max(left, 0)))  # a damaged size is up to 4 GB, which `read` would ask for
        file.seek(size + size % 2, 1)  # chunks begin at even places
    return b""
