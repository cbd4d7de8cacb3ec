"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
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
