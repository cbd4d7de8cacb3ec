"""Mutated videos and image folders: frames, or a VideoError; clip extraction leaves the broken ones out, and ends."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_actrec.cache.flow import FlowCache
from keras_actrec.errors import VideoError
from keras_actrec.extraction.flow import extract_flow
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.optical_flow import FlowConfig
from keras_actrec.video.write import write_video
from tests.faults.mutations import bounded, mutated

WIDTH, HEIGHT, FRAMES = 48, 32, 6
SECONDS = 10.0
KINDS = ("avi", "mp4", "jpg", "png")


def _frames() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [np.kron(rng.integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(FRAMES)]


def _write(folder: Path, kind: str) -> Path:
    """A sound video: a file, or a folder of images."""
    path = folder / f"clip.{kind}"
    if kind in ("avi", "mp4"):
        return write_video(path, _frames(), 25, codec="MJPG" if kind == "avi" else "mp4v")
    path.mkdir()
    for number, frame in enumerate(_frames()):
        cv2.imwrite(str(path / f"{number:03d}.{kind}"), frame)
    return path


def _mutate(path: Path, number: int) -> None:
    """Strikes the file, or one of the images."""
    draw = random.Random(f"{path.name} {number}")
    file = draw.choice(sorted(path.iterdir())) if path.is_dir() else path
    file.write_bytes(mutated(file.read_bytes(), draw, text=False))


def _mutants(folder: Path, kind: str, count: int, *, first: int = 0) -> list[Path]:
    whole = folder / f"{kind}_whole"
    whole.mkdir()
    sound = _write(whole, kind)
    mutants = []
    for number in range(first, first + count):
        path = folder / f"{number:03d}.{kind}"
        if sound.is_dir():
            path.mkdir()
            for image in sound.iterdir():
                (path / image.name).write_bytes(image.read_bytes())
        else:
            path.write_bytes(sound.read_bytes())
        _mutate(path, number)
        mutants.append(path)
    return mutants


def read_all(path: Path) -> int:
    """Number of frames. Raises VideoError."""
    count = 0
    with bounded(3 * SECONDS, memory=False), VideoReader(path, threads=1, time_limit=SECONDS) as video:
        for frame in video.frames():
            assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
            count += 1
            assert count <= 100 * FRAMES
    return count


def check(folder: Path, kind: str, count: int, *, first: int = 0) -> tuple[int, int]:
    sound = refused = 0
    for path in _mutants(folder, kind, count, first=first):
        try:
            assert read_all(path) >= 1
            sound += 1
        except VideoError as error:
            assert type(error) is VideoError and error.file and error.fix, f"{path.name}: {error}"
            refused += 1
        except BaseException as error:
            error.add_note(f"mutant {path.name}")
            raise
    return sound, refused


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_videos(kind, tmp_path):
    sound, refused = check(tmp_path, kind, 25)
    assert refused and (sound or kind == "png")  # a wrong pixel is no error; PNG has checksums


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_videos(kind, tmp_path):
    sound, refused = check(tmp_path, kind, 125, first=1000)
    assert refused and (sound or kind == "png")


def extraction(folder: Path, count: int, *, first: int = 0) -> None:
    paths = [path for kind in KINDS for path in _mutants(folder, kind, count, first=first)]
    videos = {path.name: path for path in paths}
    flow = FlowConfig(picture_size=(32, 48), preset="ultrafast")
    with bounded(len(videos) * SECONDS, memory=False):
        report = extract_flow(videos, folder / "flow", dataset="any", flow=flow, clips_per_shard=16, clip_seconds=SECONDS)
    assert report.done + len(report.left_out) == len(videos)
    assert report.done and report.left_out and all(entry.reason for entry in report.left_out)
    with FlowCache(folder / "flow") as cache:
        for clip_id in list(cache.lengths)[:10]:
            assert cache.pictures(clip_id, np.arange(cache.lengths[clip_id])).shape[1:] == (32, 48, 10)


def test_extraction_from_mutated_videos(tmp_path):
    extraction(tmp_path, 6)


@pytest.mark.slow
def test_extraction_from_five_hundred_mutated_videos(tmp_path):
    extraction(tmp_path, 125, first=2000)


def _png_size(data: bytes, width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def _jpeg_size(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + data[at + 9 :]


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize(
    ("kind", "change", "size"),
    [("png", _png_size, (30000, 30000)), ("png", _png_size, (1 << 30, 1 << 30)), ("jpg", _jpeg_size, (65000, 65000))],
)
def test_images_that_say_they_are_huge(kind, change, size, number, tmp_path):
    path = _write(tmp_path, kind)
    file = path / f"{number:03d}.{kind}"
    file.write_bytes(change(file.read_bytes(), *size))
    with bounded(SECONDS), pytest.raises(VideoError, match=f"{file.name}: the image is too large"):
        read_all(path)
