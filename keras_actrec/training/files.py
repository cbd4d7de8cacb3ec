"""Writing files so that what has a final name is whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_actrec.errors import DiskFullError


@contextmanager
def whole_file(path: str | Path, *, ending: str = "") -> Iterator[Path]:
    """Gives a name to write under; the file gets its final name when the block ends, and is deleted when the block fails.

    Args:
        path: final name; its folder is made if need be.
        ending: what the temporary name has to end in, for writers that insist on an ending.

    Raises:
        DiskFullError: no space left.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as written:  # on disk before the rename is: a power cut must not leave an empty final file
            os.fsync(written.fileno())
        os.replace(part, path)
    except OSError as error:
        _delete(part)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "no space left while writing", file=path, fix="free space and run the same command with --resume"
            ) from error
        raise
    except BaseException:
        _delete(part)
        raise


def _delete(path: Path) -> None:
    with suppress(OSError):  # the first error is the one to report
        path.unlink(missing_ok=True)
