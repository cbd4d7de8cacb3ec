"""The file under an HDF5 writer, which keeps HDF5 from crashing when the disk is full."""

from __future__ import annotations

import io
import os
from pathlib import Path


class SafeFile(io.RawIOBase):
    """A binary file for h5py that never fails while it is written: it keeps the first error and ignores later writes.

    HDF5 flushes its caches when it closes; where that fails it leaks the file and crashes the interpreter at its exit. So
    HDF5 is told that all is well, closes, and whoever writes asks `error` after each step.

    Attributes:
        error: the first OSError (no space left, quota, file too large); None while all is well.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  (closed by close)
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer) -> int:
        return self._file.readinto(buffer)

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += self._file.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size or 0

    def sync(self) -> None:
        """Waits until everything is on the disk; an error is kept like any other."""
        if self.error is None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self.error = error

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
