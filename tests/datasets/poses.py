"""Small pose files, written as the tools write them, and what readers make of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import SkeletonFormatError
from keras_actrec.skeletons.sequence import SkeletonSequence


def points(x: float, joints: int = 17) -> list[list[float]]:
    """Joint j at (x + j, 50 + 2 j)."""
    return [[x + j, 50.0 + 2 * j] for j in range(joints)]


def keypoints(x: float, joints: int = 17, confidence: float = 0.9) -> list[float]:
    """`points`, flat, each with its confidence."""
    return [value for point in points(x, joints) for value in (*point, confidence)]


def save(path: Path, data) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def starts(sequence: SkeletonSequence) -> list[list[float | None]]:
    """x of the first joint of every frame and person; None where unknown."""
    return [[None if np.isnan(x) else float(x) for x in frame] for frame in sequence.joints[:, :, 0, 0]]


def assert_flat(sequence: SkeletonSequence, frame: int, person: int, expected: list[list[float]]):
    np.testing.assert_array_equal(sequence.pixels[frame, person], expected)
    np.testing.assert_array_equal(sequence.joints[frame, person, :, :2], expected)
    np.testing.assert_array_equal(sequence.joints[frame, person, :, 2], 0)
    assert sequence.joints.dtype == sequence.pixels.dtype == np.float32


def refused(path: Path, match: str, **options) -> SkeletonFormatError:
    with pytest.raises(SkeletonFormatError, match=match) as caught:
        read_pose_file(path, **options)
    assert caught.value.file.startswith(str(path)) and caught.value.fix
    return caught.value


def metric(joints: int, frames: int = 3, people: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(frames, people, joints, 3)).astype(np.float32)
