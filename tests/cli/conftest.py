"""A tiny exported pose network and clips of its classes, that the tests of several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.skeletons.layouts import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.write import write_video
from tests import small_exports
from tests.small_exports import CLASSES, write_poses

LENGTH = 12


@dataclass(frozen=True)
class Clips:
    """A CSV with a test clip of each class and one to train on; the export of a network of poses alone."""

    csv: Path
    export: Path

    @property
    def folder(self) -> Path:
        return self.csv.parent


def poses(seed: int) -> SkeletonSequence:
    """A person whose joints do what chance says, about as large as people are, seen by a camera of 64×48 pixels."""
    generator = np.random.default_rng(seed)
    joints = np.full((LENGTH, 2, 25, 3), np.nan, np.float32)
    joints[:, 0] = generator.normal(0, 0.4, (1, 25, 3)) + generator.normal(0, 0.1, (LENGTH, 25, 3)) + (0, 0, 3)
    pixels = 24 + 8 * joints[..., :2]
    return SkeletonSequence(joints, KINECT_V2, pixels.astype(np.float32))


def write_clips(folder: Path, names: tuple[str, ...] = CLASSES) -> Path:
    lines = ["clip,label,video,skeleton,split"]
    for number, label in enumerate((*names, names[0])):
        video = write_video(folder / f"{number}.avi", np.full((LENGTH, 48, 64, 3), 40 * number, np.uint8), 10)
        write_poses(folder / f"{number}.npz", poses(number))
        lines.append(f"clip_{number},{label},{video.name},{number}.npz,{'train' if number == len(names) else 'test'}")
    csv = folder / "clips.csv"
    csv.write_text("\n".join(lines) + "\n")
    return csv


@pytest.fixture(scope="session")
def export(tmp_path_factory) -> Path:
    """A network of poses alone."""
    return small_exports.export_sta_hands(tmp_path_factory.mktemp("export") / "export", streams="pose")


@pytest.fixture
def clips(tmp_path, export) -> Clips:
    return Clips(write_clips(tmp_path), export)
