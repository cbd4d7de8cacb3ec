"""A stand-in for MediaPipe: its pose landmarker finds bright blobs in dark frames; their brightness says how surely.

A blob is a person whose height is the blob's and whose hips are at its middle; one of brightness b (0 to 255) has score
b / 255. One that is wider than high is found twice, a tenth of its height apart. As of the original: a person is found anew
where the score reaches the detection's confidence, followed (not farther than `REACH` parts of the picture per frame) where it
reaches the two others; moments increase; and a file that is no model is a RuntimeError.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

from keras_actrec.pose_estimation.model_file import MODEL_VARIABLE

MODEL = b"a model of blobs"
METRES = 1.7
"""Height of everybody."""
REACH = 0.2
_DARK = 20

_HALF = {  # of the left side: right of the picture's middle for one who faces the camera; parts of the height, y down
    "eye_inner": (0.01, -0.46), "eye": (0.02, -0.46), "eye_outer": (0.03, -0.46), "ear": (0.04, -0.45), "mouth": (0.01, -0.43),
    "shoulder": (0.11, -0.32), "elbow": (0.17, -0.16), "wrist": (0.18, -0.02), "pinky": (0.19, 0.03), "index": (0.18, 0.04),
    "thumb": (0.17, 0.02), "hip": (0.06, 0.0), "knee": (0.07, 0.25), "ankle": (0.07, 0.46), "heel": (0.07, 0.48),
    "foot_index": (0.09, 0.5),
}  # fmt: skip
_SIDES = [(x, y, 0.02) for x, y in _HALF.values()]
_EYES = [*_SIDES[:3], *((-x, y, z) for x, y, z in _SIDES[:3])]
_PAIRS = [(sign * x, y, z) for x, y, z in _SIDES[3:] for sign in (1, -1)]
BODY = np.array([(0.0, -0.44, -0.05), *_EYES, *_PAIRS])
"""(33, 3) in parts of the height, from the middle of the hips; x right, y down."""


def draw(
    *people: tuple[float, float, int], size: tuple[int, int] = (160, 120), height: int = 40, width: int = 16
) -> np.ndarray:
    """A frame, uint8 (H, W, 3), with a blob for each (x, y, brightness)."""
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, brightness in people:
        top, left = round(y - height / 2), round(x - width / 2)
        frame[max(0, top) : top + height, max(0, left) : left + width] = brightness
    return frame


def landmarks(x: float, y: float, height: float) -> np.ndarray:
    """(33, 2): where the landmarks of a blob are in the picture, in pixels."""
    return BODY[:, :2] * height + (x, y)


@dataclass(frozen=True)
class _Options:
    base_options: SimpleNamespace
    running_mode: str
    num_poses: int
    min_pose_detection_confidence: float
    min_pose_presence_confidence: float
    min_tracking_confidence: float


class _Landmarker:
    def __init__(self, options: _Options):
        self._options, self._followed, self._moment = options, [], -1

    @classmethod
    def create_from_options(cls, options: _Options) -> _Landmarker:
        if Path(options.base_options.model_asset_path).read_bytes() != MODEL:
            raise RuntimeError("Unable to open zip archive.\nMore that nobody reads")
        return cls(options)

    def close(self) -> None:
        self._followed = None

    def detect_for_video(self, image: SimpleNamespace, moment: int) -> SimpleNamespace:
        if moment <= self._moment:
            raise ValueError("Input timestamp must be monotonically increasing.")
        self._moment, options = moment, self._options
        height, width = image.data.shape[:2]
        followed_from = max(options.min_pose_presence_confidence, options.min_tracking_confidence)
        people = []
        for x, y, tall, twice, score in _blobs(image.data):
            near = any(abs(x - a) < REACH * width and abs(y - b) < REACH * height for a, b in self._followed)
            if score >= (followed_from if near else options.min_pose_detection_confidence):
                people += [(x, y, tall)] + [(x + tall / 10, y, tall)] * twice
        people = people[: options.num_poses]
        self._followed = [(x, y) for x, y, _ in people]
        seen = [np.column_stack([landmarks(*person) / (width, height), BODY[:, 2]]) for person in people]
        return SimpleNamespace(
            pose_landmarks=[_points(person) for person in seen],
            pose_world_landmarks=[_points(BODY * METRES) for _ in people],
        )


def _points(values: np.ndarray) -> list[SimpleNamespace]:
    return [SimpleNamespace(x=float(x), y=float(y), z=float(z), visibility=1.0) for x, y, z in values]


def _blobs(picture: np.ndarray) -> list[tuple[float, float, float, bool, float]]:
    """x and y of the middle, height, whether it is wider than high, score; from left to right."""
    grey = picture.max(axis=2)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((grey > _DARK).astype(np.uint8))
    found = []
    for label in range(1, count):
        left, top, width, height, area = stats[label]
        if area >= 30:
            score = float(np.median(grey[labels == label])) / 255
            found.append((left + width / 2, top + height / 2, float(height), bool(width > height), score))
    return sorted(found)


def modules() -> dict[str, ModuleType]:
    """The package and its modules, by name."""
    vision = ModuleType("mediapipe.tasks.python.vision")
    vision.PoseLandmarkerOptions, vision.PoseLandmarker = _Options, _Landmarker
    vision.RunningMode = SimpleNamespace(VIDEO="video")
    python, tasks, package = (ModuleType(f"mediapipe{name}") for name in (".tasks.python", ".tasks", ""))
    tasks.vision, tasks.BaseOptions = vision, SimpleNamespace
    package.tasks, package.Image, package.ImageFormat = tasks, SimpleNamespace, SimpleNamespace(SRGB="srgb")
    return {module.__name__: module for module in (vision, python, tasks, package)}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the stand-in where MediaPipe is looked for, in this process and in those that it starts; gives the model file."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    (folder / "packages").mkdir()
    (folder / "packages" / "mediapipe.py").write_text(
        "import sys\nfrom tests.pose_estimation.fake_mediapipe import modules\nsys.modules.update(modules())\n"
    )
    monkeypatch.syspath_prepend(folder / "packages")
    model = folder / "blobs.task"
    model.write_bytes(MODEL)
    monkeypatch.setenv(MODEL_VARIABLE, str(model))
    return model
