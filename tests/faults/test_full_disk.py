"""A disk that is really full (a small tmpfs): an error that names file and way out, nothing half under a final name, and the
same call goes on when there is space again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import DiskFullError
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.training.results import RunDescription, write_left_out, write_metrics
from tests.faults.cache_kinds import KINDS, files, left_over, write_data
from tests.faults.test_kills_export import factor_of, write
from tests.faults.test_kills_training import check_files, train
from tests.training.test_stages import assert_same_end

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).resolve().parents[2]
LARGE, NAMES = 64 << 20, 10_000
INSIDE = "ACTREC_OWN_NAMESPACE"


@dataclass(frozen=True)
class SmallDisk:
    """A file system of a few pages that is mounted at `path`."""

    path: Path

    def resize(self, size: int, *, names: int = NAMES) -> None:
        """`size` in bytes; `names` is how many files and folders fit."""
        _mount("-o", f"remount,size={size},nr_inodes={names}", self.path)

    def empty(self) -> None:
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def _mount_small(path: Path) -> bool:
    """Whether this user may, and then it is mounted."""
    try:
        _mount("-t", "tmpfs", "-o", f"size={LARGE},nr_inodes={NAMES}", "tmpfs", path)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def disk(tmp_path_factory) -> Iterator[SmallDisk]:
    path = tmp_path_factory.mktemp("disk")
    if not _mount_small(path):
        pytest.skip("this user may not mount a file system: see test_in_a_namespace_of_ones_own")
    try:
        yield SmallDisk(path)
    finally:
        _unmount(path)


def test_in_a_namespace_of_ones_own(request, tmp_path):
    """Who may not mount file systems may do so in a namespace of users and mounts, where the system allows those."""
    if INSIDE in os.environ:
        pytest.skip("in it already")
    if _mount_small(tmp_path):
        _unmount(tmp_path)
        pytest.skip("this user may mount a file system: the other tests do")
    try:
        subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("neither mount nor unshare works for this user")
    command = ["unshare", "-Urm", sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", str(request.path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, INSIDE: "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:]


def sizes(used: int, shares: tuple[float, ...]) -> list[int]:
    """Sizes in bytes that hold these shares of what is needed, and one page."""
    return sorted({PAGE, *(int(used * share) // PAGE * PAGE for share in shares)} - {0})


def used(disk: SmallDisk) -> int:
    return shutil.disk_usage(disk.path).used


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), clips=3)


def refused(call: Callable[[], object], below: Path) -> DiskFullError:
    with pytest.raises(DiskFullError) as caught:
        call()
    error = caught.value
    assert error.file and Path(error.file).is_relative_to(below), error
    assert "no space left" in str(error) and "ree some space" in error.fix, error
    return error


@pytest.mark.parametrize("kind", KINDS)
def test_extraction(kind, place, disk):
    extract, directory = KINDS[kind], disk.path / "cache"
    disk.resize(LARGE)
    disk.empty()
    extract(place, directory)
    expected, needed = files(directory), used(disk)
    for size in sizes(needed, (0.3, 0.6, 0.85)):
        disk.empty()
        disk.resize(size)
        refused(lambda: extract(place, directory), directory)
        assert all(value == expected[name] for name, value in files(directory).items()), f"{size} of {needed} bytes"
        assert not left_over(directory), f"{size} of {needed} bytes"
        disk.resize(LARGE)
        report = extract(place, directory)
        assert report.done + report.skipped == 3 and not report.left_out
        assert files(directory) == expected and verify_cache(directory).ok


@pytest.mark.parametrize("kind", ["poses", "jpegs"])
def test_extraction_where_no_more_names_fit(kind, place, disk, tmp_path):
    extract, directory = KINDS[kind], disk.path / "cache"
    extract(place, tmp_path)
    expected = files(tmp_path)
    for names in range(3, 9 if kind == "jpegs" else 5):
        disk.resize(LARGE)
        disk.empty()
        disk.resize(LARGE, names=names)
        refused(lambda: extract(place, directory), disk.path)
        assert all(value == expected[name] for name, value in files(directory).items()), f"{names} names"
        assert not left_over(directory), f"{names} names"
        disk.resize(LARGE)
        extract(place, directory)
        assert files(directory) == expected


def test_training(disk, tmp_path):
    undisturbed = train(tmp_path)
    needed = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    for size in sizes(needed, (0.2, 0.4, 0.6, 0.8)):
        disk.resize(LARGE)
        disk.empty()
        disk.resize(size)
        error = refused(lambda: train(disk.path), disk.path)
        assert "--resume" in error.fix
        check_files(disk.path / "pose")
        assert not left_over(disk.path), f"{size} of {needed} bytes"
        disk.resize(LARGE)
        assert_same_end(train(disk.path), undisturbed)


def test_results(disk):
    run = RunDescription("ntu", "cross_subject", "tiny", "none", 3, {"test": 4}, {}, command="run")
    scores = np.eye(4, 3, dtype=np.float32)
    evaluation = Evaluation(tuple("abcd"), np.array([0, 1, 2, 0]), {"logits": scores}, 1)
    names = ("wave", "clap", "drink")
    left_out = [LeftOut(f"clip{n}", "poses", "no body", "") for n in range(500)]
    writers = {
        "metrics.json": lambda path: write_metrics(path, run, evaluation, names, extra={"notes": "x" * 9000}),
        "left_out.csv": lambda path: write_left_out(path, left_out),
    }
    for name, write_it in writers.items():
        disk.resize(LARGE)
        disk.empty()
        path = disk.path / name
        path.write_text("before")
        disk.resize(2 * PAGE)
        refused(lambda write_it=write_it, path=path: write_it(path), disk.path)
        assert [entry.name for entry in disk.path.iterdir()] == [name] and path.read_text() == "before"
        disk.resize(LARGE)
        write_it(path)
        assert path.stat().st_size > 2 * PAGE and not left_over(disk.path)


def test_export(disk):
    directory = write(disk.path, 2.0)
    needed = used(disk)
    for size in sizes(needed, (0.2, 0.5, 0.9)):
        whole = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        disk.resize(needed + size)
        refused(lambda: write(disk.path, 3.0), disk.path)
        assert {path: path.read_bytes() for path in disk.path.rglob("*") if path.is_file()} == whole
        disk.resize(LARGE)
        disk.empty()
        disk.resize(size)
        refused(lambda: write(disk.path, 3.0), disk.path)
        assert not list(disk.path.iterdir())
        disk.resize(LARGE)
        assert factor_of(write(disk.path, 3.0)) == 3.0
