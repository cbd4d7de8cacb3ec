"""Who writes a cache: one run at a time per share, and one plan at a time. The kernel takes the locks of a killed process back.

Locks hold among the processes of a machine, and of machines that share a file system which knows them (NFS does for files).
Where it does not, all goes on without: two runs then write the same shards, one after the other, with the same content.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_actrec.errors import CacheError
from keras_actrec.files import disk_full_at

_NAME = re.compile(r"index\.json\.(\d+)-of-(\d+)\.lock")


@contextmanager
def planning(directory: Path) -> Iterator[None]:
    """Around reading, extending and writing the plan of a cache: waits until no other process does that."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that does not lock folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def extracting(directory: Path, share: tuple[int, int]) -> Iterator[None]:
    """Around writing the shards of a share (i, n) of a cache.

    Raises:
        CacheError: another run writes some of these shards at this moment.
        DiskFullError: no space left.
    """
    path = directory / f"index.json.{share[0]}-of-{share[1]}.lock"
    descriptor = _take(path)
    try:
        for other in sorted(directory.glob("index.json.*.lock")):
            match = _NAME.fullmatch(other.name)
            if other != path and match and _overlap(share, (int(match[1]), int(match[2]))):
                os.close(_take(other))  # held by nobody: of a killed run
                other.unlink(missing_ok=True)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is still held
        os.close(descriptor)


def _take(path: Path) -> int:
    """Opens and locks a file; raises CacheError where another process has it, DiskFullError where it cannot be made."""
    while True:
        with disk_full_at(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(path, os.pread(descriptor, 200, 0).decode(errors="replace")) from None
            except OSError:
                return descriptor  # a file system without locks
            if _is_at(descriptor, path):  # and not one that its owner has just removed
                os.ftruncate(descriptor, 0)
                with suppress(OSError):  # a full disk: the lock holds without its owner's name
                    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _busy(path: Path, owner: str) -> CacheError:
    return CacheError(
        "another run is writing this cache", file=path.parent, found=owner or "its lock is held", expected="one run at a time",
        fix="wait for it; or divide the work: --shard 0/2 in one run, --shard 1/2 in the other",
    )  # fmt: skip


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two shares (i, n) have a shard in common."""
    return (one[0] - other[0]) % math.gcd(one[1], other[1]) == 0
