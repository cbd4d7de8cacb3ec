"""Penn Action: 2326 videos of 15 sports and exercises with 13 annotated joints of one person.

W. Zhang, M. Zhu, K. G. Derpanis, "From Actemes to Action: A Strongly-Supervised Representation for Detailed Action
Understanding", ICCV 2013. Page: http://dreamdragon.github.io/PennAction/. For research, with citation of the paper.

    frames/NNNN/000001.jpg, …   images of video NNNN, at most 640 × 480
    labels/NNNN.mat             its annotation

Fields of an annotation of T frames: `action` and `pose` (text), `train` (1 or −1), `nframes`, `dimensions` (height, width,
frames), `x`, `y`, `visibility` (T, 13), `bbox` (T, 4: x1, y1, x2, y2). Positions are pixels, counted from 1 as in MATLAB, and
**y goes down**. What to know about them:

- The number types change from file to file, `uint8` among them: whoever computes with the raw fields overflows.
- Invisible joints (visibility 0) are of two kinds. 40 % of them were never annotated: they sit at (1, 1), scaled with the
  video, so both coordinates are equal and below 2. They are NaN here. The others are where an annotator believed them to be:
  they stay, with tracking 1 (inferred). Some of these lie far from the body, left behind from an earlier frame.
- The box encloses what is visible: it is less than 20 pixels wide or high in 911 frames in which next to nothing is.
- Two files, 1154 and 1865, have a row of `bbox` too few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.counts import BOTH_SIDES, CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX, add_clip, walk_folders
from keras_actrec.datasets.mat_files import read_mat
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import PENN_13
from keras_actrec.skeletons.sequence import SkeletonSequence

PENN_CLASSES = (
    "baseball_pitch", "baseball_swing", "bench_press", "bowl", "clean_and_jerk", "golf_swing", "jump_rope", "jumping_jacks",
    "pullup", "pushup", "situp", "squat", "strum_guitar", "tennis_forehand", "tennis_serve",
)  # fmt: skip
"""The values of `action`, in alphabetical order as on the data set's page."""

CLIPS = 2326
"""Their names are 0001 to 2326."""

EXPECTED_CLIPS = {("official", "train"): 1258, ("official", "test"): 1068, ("official", BOTH_SIDES): CLIPS}
FRAME_RATE = 30.0
"""Usual for videos of the web; the data set does not say."""

UNANNOTATED = 2.0
"""An invisible joint with equal coordinates below this was never annotated. No visible joint has both coordinates below 4."""

INFERRED, TRACKED = 1, 2
FOLDERS = "a folder labels with NNNN.mat files, and frames/NNNN beside it for the images"
GET_IT = "download Penn Action (http://dreamdragon.github.io/PennAction/)"

_FILE_NAME = re.compile(r"(\d{4})\.mat", re.ASCII)


class PennAction:
    """The clips below a data root: every `labels/NNNN.mat` in any folder; `frames/NNNN` beside `labels` is the video.

    Record: `clip_id` 0001; `video` the folder of images, None where there is none; no subject, camera or setup.

    Args:
        root: the folder. Links are followed.

    Attributes:
        records: the clips that can be used, sorted by name.
        left_out: the clips whose annotation has no class or no split that the data set knows, or cannot be read.

    Raises:
        DatasetError: no such folder, no clip in it or none that can be used, or the same clip in two places.
    """

    name = "penn_action"
    metrics = ("accuracy",)

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.class_names = PENN_CLASSES
        self.cleaning = CleaningConfig(find_people=False)
        clips: dict[str, Path] = {}
        for folder, names in walk_folders(self.root, expected=FOLDERS, fix=GET_IT):
            for match in map(_FILE_NAME.fullmatch, names if folder.name == "labels" else ()):
                if match:
                    add_clip(clips, match[1], folder / match[0])
        records, left_out, training = [], [], set()
        for clip_id, file in sorted(clips.items()):
            try:
                label, trains = _read_class(file)
            except SkeletonFormatError as error:
                left_out.append(LeftOut(clip_id, "index", str(error), str(file)))
                continue
            records.append(_record(clip_id, file, label))
            if trains:
                training.add(clip_id)
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        self._training = frozenset(training)
        if not records:
            found = f"{len(left_out)} unusable files, the first: {left_out[0].reason}" if left_out else "no such file"
            raise DatasetError(
                "no clip of Penn Action in the data root", file=self.root, found=found, expected=FOLDERS, fix=GET_IT
            )

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's annotation. Raises SkeletonFormatError, see `read_penn_skeleton`."""
        return read_penn_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "official": the split by the annotations' `train`."""
        names = [record.clip_id for record in self.records]
        train = tuple(name for name in names if name in self._training)
        return {"official": Split(train, tuple(name for name in names if name not in self._training))}

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of "official" that do not have the published number of clips, and the names that differ as those of both sides:
        the number of a clip that is missing does not say which side it is of.
        """
        published = {("official", BOTH_SIDES): [f"{number:04d}" for number in range(1, CLIPS + 1)]}
        return count_mismatches(self.protocols(), EXPECTED_CLIPS, published)


def _record(clip_id: str, file: Path, label: int) -> ClipRecord:
    frames = file.parent.parent / "frames" / clip_id
    return ClipRecord(
        clip_id=clip_id,
        label=label,
        subject=0,
        camera=0,
        setup=0,
        skeleton=file,
        video=frames if frames.is_dir() else None,
        frame_rate=FRAME_RATE,
        layout=PENN_13,
    )


def read_penn_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads the joints of a `labels/NNNN.mat`.

    Args:
        path: the file.

    Returns:
        Joints (T, 1, 13, 3): x, y in pixels, y down, z = 0. Pixels (T, 1, 13, 2): x, y. Tracking (T, 1, 13): 2 visible, 1
        invisible, 0 and NaN for a joint that was never annotated.

    Raises:
        SkeletonFormatError: the file cannot be read, a field is absent or not of its shape, or `nframes` is another number.
    """
    path = Path(path)
    fields = _read_fields(path, "x", "y", "visibility", "nframes")
    x, y, visibility = (_numbers(path, fields, name) for name in ("x", "y", "visibility"))
    frames = len(x) if x.ndim == 2 else 0
    for name, values in (("x", x), ("y", y), ("visibility", visibility)):
        if values.shape != (frames, len(PENN_13)) or not frames:
            _fail(path, name, "the field has the wrong shape", values.shape, f"({frames or 'frames'}, {len(PENN_13)})")
    nframes = _numbers(path, fields, "nframes")
    if nframes.shape != (1, 1) or nframes.item() != frames:
        _fail(path, "nframes", "the annotation does not have its number of frames", nframes.tolist(), frames)
    visible = visibility != 0
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        pixels = np.stack([x, y], axis=-1).astype(np.float32)
    known = np.isfinite(pixels).all(axis=-1) & (visible | (x != y) | (x >= UNANNOTATED))
    pixels = np.where(known[..., None], pixels, np.float32(np.nan))[:, None]
    joints = np.concatenate([pixels, np.where(known, np.float32(0), np.float32(np.nan))[:, None, :, None]], axis=-1)
    tracking = np.where(known, np.where(visible, TRACKED, INFERRED), 0).astype(np.uint8)[:, None]
    return SkeletonSequence(joints, PENN_13, pixels=pixels, tracking=tracking)


def load_boxes(record: ClipRecord) -> np.ndarray:
    """Reads the annotated boxes of a clip of Penn Action.

    Returns:
        float32 (T, 4): x1, y1, x2, y2 in pixels, y down; NaN in the last frame of the two files with a row too few.

    Raises:
        SkeletonFormatError: the file cannot be read, or `bbox` does not fit the frames.
    """
    path = record.skeleton
    fields = _read_fields(path, "x", "bbox")
    frames, boxes = len(_numbers(path, fields, "x")), _numbers(path, fields, "bbox")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) not in (frames - 1, frames):
        _fail(path, "bbox", "the field has the wrong shape", boxes.shape, f"({frames}, 4), or a row less")
    padded = np.full((frames, 4), np.nan, np.float32)
    padded[: len(boxes)] = boxes
    return padded


def _read_class(path: Path) -> tuple[int, bool]:
    """Label, and whether the clip trains."""
    fields = _read_fields(path, "action", "train")
    action, train = fields["action"].ravel().tolist(), fields["train"].ravel().tolist()
    if len(action) != 1 or action[0] not in PENN_CLASSES:
        _fail(path, "action", "not a class of Penn Action", action, f"one of {', '.join(PENN_CLASSES)}")
    if train not in ([1], [-1]):
        _fail(path, "train", "the file does not say whether it trains or tests", train, "1 or -1")
    return PENN_CLASSES.index(action[0]), train == [1]


def _read_fields(path: Path, *names: str) -> dict[str, np.ndarray]:
    try:
        fields = read_mat(path, names)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise SkeletonFormatError(
            "the annotation cannot be read", file=path, found=found, expected="a MATLAB file, version 5", fix=FILE_FIX
        ) from error
    for name in names:
        if name not in fields:
            _fail(path, name, "the annotation lacks a field", ", ".join(fields), ", ".join(names))
    return {name: fields[name] for name in names}


def _numbers(path: Path, fields: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A field as float64: the files hold uint8 and uint16 too, with which nothing must be computed."""
    if fields[name].dtype.kind not in "iuf":
        _fail(path, name, "the field holds no numbers", fields[name].dtype, "numbers")
    return fields[name].astype(np.float64)


def _fail(path: Path, field: str, problem: str, found: object, expected: object) -> NoReturn:
    raise SkeletonFormatError(problem, file=path, place=field, found=found, expected=expected, fix=FILE_FIX)
