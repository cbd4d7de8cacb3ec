"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def actrec_data() -> Path:
    """Folder of real research data, by `ACTREC_DATA` or beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("ACTREC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder.name}: set ACTREC_DATA to the folder that holds it")
    return folder


@pytest.fixture
def full_disk():
    """`with full_disk(size):` no file can grow beyond `size` bytes: writing fails as on a full disk (EFBIG for ENOSPC)."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
