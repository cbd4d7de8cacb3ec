"""Writing files so that what has a final name is whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_actrec.errors import DISK_FULL, DiskFullError, is_disk_full

_FIX = "free some space, or write to another disk, and run the same command again: finished work is not repeated"
_PROBE_BYTES = 1 << 20


@contextmanager
def whole_file(path: str | Path, *, ending: str = "", shared: bool = False, size: int = 0, fix: str = _FIX) -> Iterator[Path]:
    """Gives a name to write under; the file gets its final name when the block ends, and is deleted when the block fails.

    Args:
        path: final name; its folder is made if need be.
        ending: what the temporary name has to end in, for writers that insist on an ending.
        shared: several processes may write this file at once: each gets a temporary name of its own.
        size: bytes that will be written, for writers that fail badly on a full disk (HDF5): refused before they start.
        fix: what the user can do about a full disk.

    Raises:
        DiskFullError: no space left.
    """
    path = Path(path)
    own = f".{machine_name()}.{os.getpid()}" if shared else ""
    part = path.with_name(f"{path.name}{own}.part{ending}")
    try:
        with disk_full_at(path, fix=fix):
            path.parent.mkdir(parents=True, exist_ok=True)
            if size > shutil.disk_usage(path.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _reserve(part, size)
            yield part
            with part.open("rb") as written:  # on disk before the rename is: a power cut must not leave an empty final file
                os.fsync(written.fileno())
            os.replace(part, path)
    except BaseException:
        _delete(part)
        raise


@contextmanager
def disk_full_at(path: str | Path, *, fix: str = _FIX) -> Iterator[None]:
    """Turns the operating system's words for a full disk into a DiskFullError that names `path`."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(f"no space left to write the file: {error.strerror}", file=path, fix=fix) from error
        raise


def says_disk_full(error: BaseException) -> bool:
    """`is_disk_full` for libraries that hand on the operating system's words without its error number, as TensorFlow does."""
    return is_disk_full(error) or any(os.strerror(number) in str(error) for number in DISK_FULL)


def disk_error(unfinished: Path) -> OSError | None:
    """For writers that hide the operating system's error: what it says to more bytes at the end of their unfinished file.

    Returns:
        The error where the disk is full, else None. The file is of no use afterwards.
    """
    try:
        with unfinished.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error if is_disk_full(error) else None
    return None


def machine_name(name: str | None = None) -> str:
    """A machine's name (None: of this one) as it stands in names of unfinished files."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname() if name is None else name) or "host"


def process_runs(pid: int) -> bool:
    """Whether the process that began an unfinished file still runs here. Not this one: before, the number was another's."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reserve(part: Path, size: int) -> None:
    """Asks the disk for `size` bytes and gives them back: unlike the free space this knows quotas and limits."""
    if size and hasattr(os, "posix_fallocate"):
        with part.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        part.unlink()


def _delete(path: Path) -> None:
    with suppress(OSError):  # the first error is the one to report
        path.unlink(missing_ok=True)
