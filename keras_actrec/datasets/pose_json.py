"""Poses in JSON: a form of our own, and what COCO tools, OpenPose, MMPose and MediaPipe write.

- **our own**: `{"layout": NAME, "frames": [{"people": [{"id": 0, "keypoints": [x, y, confidence, …]}]}]}`; `joints` ([x, y, z]
  in metres) with or instead of `keypoints`.
- **COCO results**: `[{"image_id": …, "keypoints": [51 values], "score": …, "track_id": …}]`, one entry per person and frame, in
  any order (https://cocodataset.org/#format-results). AlphaPose writes the same, with the image's file name as `image_id`
  ("0.jpg", "1.jpg", … for the frames of a video) and the person as `idx`; without a tracker that is [0.0] for everybody.
  Frames without people are not in the file.
- **OpenPose** `--write_json`: a folder with one `*_NNNNNNNNNNNN_keypoints.json` per frame, `people[].pose_keypoints_2d`: 18
  key points (COCO model) or 25 (BODY_25); unknown ones are 0, 0, 0; `person_id` is [-1] without tracking.
- **MMPose** inferencer and demo: `[{"frame_id": 0, "instances": [{"keypoints": [[x, y], …], "keypoint_scores": […]}]}]`, or the
  same list as `instance_info`.
- **MediaPipe Tasks** defines no file; its `PoseLandmarkerResult` as a dictionary per frame: `pose_landmarks` (parts of the
  image's width and height) and `pose_world_landmarks` (metres from the middle of the hips), a list of 33 landmarks per pose.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from keras_actrec.datasets.mediapipe_poses import metric_person
from keras_actrec.datasets.pose_tracks import Person
from keras_actrec.errors import SkeletonFormatError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import COCO_17, LAYOUTS, MEDIAPIPE_33, OPENPOSE_18

Frames = list[list[Person]]

FIX = "write the file again, or leave the clip out; docs/own_data.md shows every form"
FORMS = "our own form, a COCO results list, MMPose's or MediaPipe's results"
OPENPOSE_FILES = "*_keypoints.json"
BODY_25_TO_18 = (*range(8), *range(9, 19))
"""OpenPose's BODY_25 is its COCO model with the middle of the hips at place 8 and six joints of the feet at the end."""
LONGEST_CLIP = 200_000
"""Frames; what is longer is no clip but numbers that do not count frames."""

LARGEST_NUMBER = 10**300
"""Integers of JSON have no end; floating-point numbers, with which they are computed, do."""

_IMAGE_KEYS, _WORLD_KEYS = ("pose_landmarks", "landmarks"), ("pose_world_landmarks", "worldLandmarks")


def read_json(
    path: Path, *, layout: SkeletonLayout | None, min_confidence: float, first_frame: int | None
) -> tuple[SkeletonLayout, Frames]:
    """Reads any of the JSON forms; arguments and errors as `read_pose_file`."""
    data = _load(path)
    form = _Form(path, min_confidence)
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    if isinstance(data, dict) and isinstance(data.get("frames"), list):
        if any(isinstance(frame, dict) and _either(frame, (*_IMAGE_KEYS, *_WORLD_KEYS)) for frame in data["frames"]):
            return MEDIAPIPE_33, _mediapipe(form, data["frames"], form.image_size(data))
        layout = form.layout(data, layout)
        return layout, _own(form, data["frames"], layout)
    if isinstance(data, dict) and isinstance(data.get("instance_info"), list):
        return layout or COCO_17, _mmpose(form, data["instance_info"], layout or COCO_17)
    if "image_id" in first:
        return layout or COCO_17, _coco(form, data, layout or COCO_17, first_frame)
    if "instances" in first:
        return layout or COCO_17, _mmpose(form, data, layout or COCO_17)
    if any(key in first for key in (*_IMAGE_KEYS, *_WORLD_KEYS)):
        return MEDIAPIPE_33, _mediapipe(form, data, None)
    if isinstance(data, dict) and "people" in data:
        form.fail("this is one frame of OpenPose, not a clip", fix="give the folder that holds the files of all frames")
    found = (
        f"an object with {_keys(data)}" if isinstance(data, dict) else f"a list of {_keys(first)}" if first else _short(data)
    )
    form.fail("not a form of poses in JSON that is known here", found=found, expected=FORMS)


def read_openpose(folder: Path, *, min_confidence: float) -> tuple[SkeletonLayout, Frames]:
    """Reads a folder that OpenPose wrote; arguments and errors as `read_pose_file`."""
    files = sorted(folder.glob(OPENPOSE_FILES), key=lambda file: (len(file.name), file.name))
    if not files:
        raise SkeletonFormatError(
            "the folder holds no poses", file=folder, found=f"no {OPENPOSE_FILES}", expected="OpenPose's files, one per frame",
            fix="run OpenPose with --write_json FOLDER, or leave the clip out",
        )  # fmt: skip
    _check_complete(folder, files)
    frames, largest = [], 0.0
    for file in files:
        form, data = _Form(file, min_confidence), _load(file)
        people = data.get("people") if isinstance(data, dict) else None
        entries = form.objects(people, "people")
        frames.append([form.openpose_person(entry, f"person {n}") for n, entry in enumerate(entries) if entry.get(_POSE) != []])
        largest = max([largest, *(float(np.nanmax(np.abs(p.joints))) for p in frames[-1] if p.known)])
    if 0 < largest <= 1:
        raise SkeletonFormatError(
            "the key points are no pixels", file=folder, found=f"no coordinate above {largest:g}", expected="pixels",
            fix="run OpenPose without --keypoint_scale",
        )  # fmt: skip
    return OPENPOSE_18, frames


_POSE = "pose_keypoints_2d"


def _check_complete(folder: Path, files: list[Path]) -> None:
    """Files that OpenPose numbered must have one name but for the number, and even steps."""
    names = [re.fullmatch(r"(.*?)(\d+)_keypoints\.json", file.name) for file in files]
    if not all(names):
        return  # named after images; one file per image is written whether it has people or not
    for other, name in zip(files, names, strict=True):
        if name[1] != names[0][1]:
            raise SkeletonFormatError(
                "the folder holds more than one clip", file=folder, found=f"{files[0].name} and {other.name}",
                expected="the frames of one clip", fix="run OpenPose with a folder per clip",
            )  # fmt: skip
    numbers = [int(name[2]) for name in names]
    steps = np.diff(numbers)
    if len(steps) and (steps != steps.min()).any():
        after = numbers[int((steps != steps.min()).argmax())]
        raise SkeletonFormatError(
            "files of frames are missing", file=folder, found=f"none between {after} and {numbers[numbers.index(after) + 1]}",
            expected=f"one every {steps.min()} frames", fix="run OpenPose again, or leave the clip out",
        )  # fmt: skip


@dataclass(frozen=True)
class _Form:
    """Reads the parts that the forms share, and says where in the file they are wrong."""

    path: Path
    min_confidence: float

    def fail(self, problem: str, *, place: str | None = None, found=None, expected=None, fix: str = FIX) -> NoReturn:
        raise SkeletonFormatError(problem, file=self.path, place=place, found=found, expected=expected, fix=fix)

    def objects(self, value: Any, what: str, place: str | None = None) -> list[dict]:
        """A list of objects."""
        if not isinstance(value, list):
            self.fail(f"wrong {what}", place=place, found=_short(value), expected="a list")
        for number, entry in enumerate(value):
            if not isinstance(entry, dict):
                self.fail(f"wrong {what}", place=_within(place, f"entry {number}"), found=_short(entry), expected="an object")
        return value

    def layout(self, data: dict, wanted: SkeletonLayout | None) -> SkeletonLayout:
        name = data.get("layout", wanted and wanted.name)
        if wanted is not None and name == wanted.name:
            return wanted
        if not isinstance(name, str) or name not in LAYOUTS:
            found = "none" if name is None else _short(name)
            self.fail("unknown joint layout", place="layout", found=found, expected=f"one of {', '.join(LAYOUTS)}")
        return LAYOUTS[name]

    def image_size(self, data: dict) -> tuple[float, float] | None:
        """(width, height) in pixels; None where the file has neither."""
        size = (data.get("width"), data.get("height"))
        if size == (None, None):
            return None
        if not all(_is_number(value) and value > 0 for value in size):
            self.fail("wrong image size", place="width, height", found=size, expected="two positive numbers of pixels")
        return float(size[0]), float(size[1])

    def table(self, value: Any, rows: int, columns: tuple[int, ...], place: str) -> np.ndarray:
        """Numbers, flat or row by row; null is NaN. float64 (rows, c), c one of `columns`."""
        try:
            array = np.array(value if isinstance(value, list) else None)
            if array.dtype == object and array.ndim and all(v is None or isinstance(v, int | float) for v in array.flat):
                array = array.astype(np.float64)
        except (ValueError, OverflowError):  # rows of different lengths, integers without end
            array = np.array(None)
        for count in columns:
            if array.dtype.kind in "iuf" and array.shape in ((rows * count,), (rows, count)):
                return array.astype(np.float64).reshape(rows, count)
        found = f"{array.size} values" if array.dtype.kind in "iuf" else _short(value)
        self.fail("wrong coordinates", place=place, found=found, expected=f"{rows} times {_or(columns)} numbers")

    def keypoints(self, entry: dict, layout: SkeletonLayout, place: str, key: str = "keypoints") -> np.ndarray:
        """(J, 2): x, y, with a confidence as third column or as `keypoint_scores`; NaN where it is 0 or below the threshold."""
        scores = entry.get("keypoint_scores")
        place = _within(place, key)
        table = self.table(entry.get(key), len(layout), (3, 2) if scores is None else (2,), place)
        points = table[:, :2]
        if scores is not None:
            confidence = self.table(scores, len(layout), (1,), _within(place, "keypoint_scores"))[:, 0]
        else:
            confidence = table[:, 2] if table.shape[1] == 3 else np.ones(len(layout))
        return self.confident(points, confidence)

    def confident(self, points: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """The points, NaN where their confidence is 0 or below the threshold, or where they are not finite."""
        known = (confidence > 0) & (confidence >= self.min_confidence) & np.isfinite(points).all(axis=1)
        return np.where(known[:, None], points, np.nan)

    def openpose_person(self, entry: dict, place: str) -> Person:
        numbers = entry.get(_POSE)
        if isinstance(numbers, list) and len(numbers) == 3 * 25:
            entry = entry | {_POSE: [numbers[3 * joint + i] for joint in BODY_25_TO_18 for i in range(3)]}
        elif not isinstance(numbers, list) or len(numbers) != 3 * len(OPENPOSE_18):
            found = f"{len(numbers)} values" if isinstance(numbers, list) else _short(numbers)
            expected = "54 values (COCO model) or 75 (BODY_25)"
            self.fail("not the body of a model that is known here", place=_within(place, _POSE), found=found, expected=expected)
        return flat(self.keypoints(entry, OPENPOSE_18, place, key=_POSE), self.body_id(entry, "person_id", place))

    def body_id(self, entry: dict, key: str, place: str) -> int | None:
        """The person's id; None where it is absent, null or negative. A list of one number repeated counts as the number."""
        value = entry.get(key)
        if isinstance(value, list):
            numbers = _flatten(value)
            value = numbers[0] if numbers and all(number == numbers[0] for number in numbers) else None
        if value is None:
            return None
        if not _is_number(value) or value != int(value):
            self.fail("wrong id of a person", place=_within(place, key), found=_short(value), expected="an integer")
        return int(value) if value >= 0 else None


def flat(points: np.ndarray, body_id: int | None = None) -> Person:
    """A body in the image plane: joints are its pixels (J, 2) with z = 0."""
    joints = np.concatenate([points, np.where(np.isnan(points[:, :1]), np.nan, 0)], axis=1)
    return Person(joints, points, body_id)


def _own(form: _Form, frames: list, layout: SkeletonLayout) -> Frames:
    result, forms = [], {}
    for number, frame in enumerate(form.objects(frames, "frames")):
        people = []
        for index, entry in enumerate(form.objects(frame.get("people"), "people", f"frame {number}")):
            place = f"frame {number}, person {index}"
            people.append(_own_person(form, entry, layout, place))
            forms.setdefault("joints" in entry, place)
        result.append(people)
    if len(forms) == 2:
        form.fail("some people have joints in metres, others only pixels", place=forms[False], expected="one or the other")
    return result


def _own_person(form: _Form, entry: dict, layout: SkeletonLayout, place: str) -> Person:
    body_id = form.body_id(entry, "id", place)
    if "joints" not in entry:
        return flat(form.keypoints(entry, layout, place), body_id)
    joints = form.table(entry["joints"], len(layout), (3,), _within(place, "joints"))
    joints = np.where(np.isfinite(joints).all(axis=1, keepdims=True), joints, np.nan)
    return Person(joints, form.keypoints(entry, layout, place) if "keypoints" in entry else None, body_id)


def _coco(form: _Form, entries: list, layout: SkeletonLayout, first_frame: int | None) -> Frames:
    entries = form.objects(entries, "results")
    key = next((key for key in ("track_id", "idx") if any(key in entry for entry in entries)), "track_id")
    ids = [form.body_id(entry, key, f"entry {n}") for n, entry in enumerate(entries)]
    images = [_image(form, entry.get("image_id"), f"entry {n}, image_id") for n, entry in enumerate(entries)]
    for n, image in enumerate(images):
        if (image.before, image.after) != (images[0].before, images[0].after):
            form.fail(
                "the results are of more than one clip", place=f"entry {n}, image_id", found=repr(entries[n]["image_id"]),
                expected=f"a name like {entries[0]['image_id']!r}", fix="write one file per clip",
            )  # fmt: skip
    if any(isinstance(entry.get(key), list) for entry in entries):
        seen = [(image.number, body_id) for image, body_id in zip(images, ids, strict=True)]
        if len(set(seen)) < len(seen):  # AlphaPose without a tracker: the same number for everybody
            ids = [None] * len(ids)
    numbers = [image.number for image in images]
    if first_frame is None:
        # AlphaPose counts the frames of a video from 0, without leading zeros; other numbers start anywhere.
        first_frame = 0 if all(image.of_video for image in images) else min(numbers)
    for n, number in enumerate(numbers):
        if not 0 <= number - first_frame < LONGEST_CLIP:
            expected = f"{first_frame} to {first_frame + LONGEST_CLIP - 1}"
            form.fail("the number of the image is no frame", place=f"entry {n}, image_id", found=number, expected=expected)
    frames: Frames = [[] for _ in range(max(numbers) - first_frame + 1)]
    for n, (entry, number, body_id) in enumerate(zip(entries, numbers, ids, strict=True)):
        frames[number - first_frame].append(flat(form.keypoints(entry, layout, f"entry {n}"), body_id))
    return frames


@dataclass(frozen=True)
class _Image:
    """The last number in an image's name, what stands before and after it, and whether it is a name like "12.jpg"."""

    number: int
    before: str = ""
    after: str = ""
    of_video: bool = False


def _image(form: _Form, value: Any, place: str) -> _Image:
    if isinstance(value, str):
        match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", value, re.ASCII | re.DOTALL)
        if match:
            before, digits, after = match.groups()
            of_video = not before and after == ".jpg" and digits == str(int(digits))
            return _Image(int(digits), before, after, of_video)
    elif _is_number(value) and value == int(value):
        return _Image(int(value))
    form.fail("the image has no number", place=place, found=_short(value), expected="the frame's number, alone or in a name")


def _mmpose(form: _Form, entries: list, layout: SkeletonLayout) -> Frames:
    frames, previous = [], None
    for n, frame in enumerate(form.objects(entries, "frames")):
        number = frame.get("frame_id", n)
        if not _is_number(number) or (previous is not None and number != previous + 1):
            expected = "a number" if previous is None else previous + 1
            form.fail("the frames are not in a row", place=f"entry {n}, frame_id", found=_short(number), expected=expected)
        previous = number
        people = []
        for index, entry in enumerate(form.objects(frame.get("instances"), "instances", f"frame {n}")):
            place = f"frame {n}, instance {index}"
            people.append(flat(form.keypoints(entry, layout, place), form.body_id(entry, "track_id", place)))
        frames.append(people)
    return frames


def _mediapipe(form: _Form, entries: list, size: tuple[float, float] | None) -> Frames:
    frames: Frames = []
    entries = form.objects(entries, "frames")
    metric = any(_either(entry, _WORLD_KEYS) for entry in entries)
    if not metric and size is None:
        form.fail(
            "landmarks in parts of the image need its size", found="no world landmarks, no width and height",
            expected='{"width": …, "height": …, "frames": [results]}, or pose_world_landmarks', fix="write one of the two",
        )  # fmt: skip
    for n, entry in enumerate(entries):
        world, image = (_poses(form, _either(entry, keys), f"frame {n}, {keys[0]}") for keys in (_WORLD_KEYS, _IMAGE_KEYS))
        if image and len(world) != len(image) and (world or metric):
            found = f"{len(image)} poses in the image, {len(world)} in the world"
            form.fail("the landmarks do not belong together", place=f"frame {n}", found=found, expected="as many of each")
        frames.append([])
        for index in range(max(len(world), len(image))):
            landmarks = image[index] if image else None
            if metric:
                frames[-1].append(metric_person(world[index], landmarks, size))
            else:
                with np.errstate(over="ignore"):  # of absurd sizes: infinite, which is unknown
                    frames[-1].append(flat(landmarks[:, :2] * size))
    return frames


def _poses(form: _Form, value: Any, place: str) -> list[np.ndarray]:
    """(33, 3) of each pose: x, y, z, NaN where the visibility is too low."""
    poses = []
    if not isinstance(value, list | None):
        form.fail("wrong poses", place=place, found=_short(value), expected="a list of poses")
    for index, pose in enumerate(value or []):
        where = f"{place}, pose {index}"
        pose = form.objects(pose, "landmarks", where)
        points = form.table([[point.get(c) for c in "xyz"] for point in pose], len(MEDIAPIPE_33), (3,), where)
        visible = [point.get("visibility") for point in pose]  # optional in MediaPipe
        visible = form.table([1.0 if v is None else v for v in visible], len(MEDIAPIPE_33), (1,), f"{where}, visibility")
        poses.append(form.confident(points, visible[:, 0]))
    return poses


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SkeletonFormatError("the file cannot be read", file=path, found=error.strerror or str(error), fix=FIX) from error
    except json.JSONDecodeError as error:
        empty = not error.doc.strip()
        place = None if empty else f"line {error.lineno}, column {error.colno}"
        problem = "the file is empty" if empty else f"not JSON, or cut short: {error.msg}"
        raise SkeletonFormatError(problem, file=path, place=place, expected=FORMS, fix=FIX) from error
    except (ValueError, RecursionError) as error:  # bytes that are no text, numbers and brackets without end
        raise SkeletonFormatError("not JSON", file=path, found=_short(str(error)), expected=FORMS, fix=FIX) from error


def _either(data: dict, keys: tuple[str, ...]) -> Any:
    return next((data[key] for key in keys if data.get(key) is not None), None)


def _flatten(value: list) -> list:
    """What lists of lists hold in the end, in any order."""
    while any(isinstance(part, list) for part in value):  # no recursion: brackets may be nested as deep as Python allows
        value = [leaf for part in value for leaf in (part if isinstance(part, list) else [part])]
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _within(place: str | None, part: str) -> str:
    return f"{place}, {part}" if place else part


def _or(numbers: tuple[int, ...]) -> str:
    return " or ".join(map(str, numbers))


def _keys(data: dict) -> str:
    return _short(", ".join(map(str, data))) if data else "no keys"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # brackets nested deep, integers of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
