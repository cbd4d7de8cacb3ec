"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import resource
import tarfile
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def real_archive(actrec_data, tmp_path_factory) -> Callable[[str], Path]:
    """`real_archive("sbu_skeletons")` unpacks an archive of the real data once and gives its folder; skips where absent."""
    folders: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        archive = actrec_data / f"{name}.tar.xz"
        if not archive.is_file():
            pytest.skip(f"no {archive.name} in the folder of real data")
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            with tarfile.open(archive) as file:
                file.extractall(folders[name], filter="data")
        return folders[name]

    return unpack


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


@pytest.fixture
def blob_model(tmp_path_factory, monkeypatch) -> Path:
    """Poses are found by tests/pose_estimation/fake_mediapipe.py instead of MediaPipe, in processes started here too; gives
    its model file."""
    from tests.pose_estimation import fake_mediapipe

    return fake_mediapipe.install(tmp_path_factory.mktemp("blobs"), monkeypatch)
