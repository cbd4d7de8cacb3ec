"""Northwestern-UCLA Multiview Action 3D: 10 actions of 10 people, seen by three Kinects (version 1) at once.

J. Wang, X. Nie, Y. Xia, Y. Wu, S.-C. Zhu, "Cross-view Action Modeling, Learning, and Recognition", CVPR 2014. Page:
https://wangjiangb.github.io/my_data.html. For academic research, with citation of the paper.

Two forms of it are read, both in metres with y up:

    aNN_sNN_eNN_vNN.json                       action, subject, repetition, view: one file per clip, as distributed with
                                               skeleton projects (`all_sqe`). Keys: "skeletons" (T, 20, 3), "file_name", "label"

    view_N/aNN_sNN_eNN/                        the data set's own form: a folder per clip,
      frame_N_tc_TIME_skeletons.txt            one file per frame, empty where no body was seen. For each body one line with a
                                               single number, then 20 lines x,y,z,state (Kinect: 0 not tracked, 1 inferred,
                                               2 tracked). The first body is the one that acts
      frame_N_tc_TIME_rgb.jpg                  colour images, 640×480: the clip's video. N pairs them with the skeletons; TIME
                                               is that of the single file
      frame_N_tc_TIME_depth.png, _depth_vis.jpg, fileList.txt, …        not used: N gives the order of the frames

Actions are numbered 1 to 6, 8, 9, 11 and 12, and the labels inside the JSON files have gaps in other copies: the class is taken
from the name.

Neither form says where a joint is in the colour image, nor how the cameras were calibrated. In the data set's own form the
pixels are a projection with **nominal** values: the focal length that Microsoft's SDK 1.x gives for the colour camera of Kinect
v1 (NuiImageCamera.h: NUI_CAMERA_COLOR_NOMINAL_FOCAL_LENGTH_IN_PIXELS, 531.15 at 640×480), the principal point in the middle, no
distortion; x grows to the right of the image, as in the SDK's own NuiTransformSkeletonToDepthImage. The joints, however, are in
the frame of the depth camera, whose lens is about 2.5 cm beside that of the colour camera (7 pixels at 2 m, 13 at 1 m), and no
two sensors are alike. So a joint is a few pixels to about 20 off: good for boxes around a person with a margin, not for narrow
crops around hands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from keras_actrec.datasets.counts import CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX, add_clip, number_rows, published_lines, text_lines, walk_folders
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import KINECT_V1
from keras_actrec.skeletons.projection import project
from keras_actrec.skeletons.sequence import SkeletonSequence

ACTIONS: Mapping[int, str] = MappingProxyType({
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
})  # fmt: skip
"""Action number in the names of files → class name; the label is the position in this order."""

VIEWS = range(1, 4)
EXPECTED_CLIPS = {("view3", "train"): 1020, ("view3", "test"): 464}
"""Clips of the JSON form, as the projects that use it count them. Their names are `published_clips`; a folder in the data set's
own form is held against them too, and what it has beyond them is named."""

FRAME_RATE = 30.0
"""The sensor's; the data set does not say at which rate it was recorded."""

IMAGE_SIZE = (640, 480)
"""Width and height of the colour images, which pixels refer to."""

COLOR_FOCAL_LENGTH = 531.15
"""Of the colour camera in pixels of such an image, nominal: see above."""

FOLDERS = "aNN_sNN_eNN_vNN.json files, or folders view_N/aNN_sNN_eNN with frame_*_skeletons.txt files"
GET_IT = "download Northwestern-UCLA Multiview Action 3D (https://wangjiangb.github.io/my_data.html)"

_JSON_NAME = re.compile(r"(a\d\d_s\d\d_e\d\d_v\d\d)\.json", re.ASCII)
_CLIP_FOLDER = re.compile(r"view_(\d)/(a\d\d_s\d\d_e\d\d)", re.ASCII)
_FRAME_NAME = re.compile(r"frame_(\d+)_.*skeletons\.txt", re.ASCII)
_IMAGE_NAME = re.compile(r"frame_\d+_(?:.*_)?rgb\.jpg", re.ASCII)
_PARTS = re.compile(r"a(\d\d)_s(\d\d)_e\d\d_v(\d\d)", re.ASCII)
_JOINTS = len(KINECT_V1)


class NorthwesternUCLA:
    """The clips below a data root, in either form.

    Record: `clip_id` a01_s02_e03_v01, `camera` the view, no setup; `skeleton` a JSON file or a folder of text files; `video`
    the same folder where it holds colour images, None where it does not or the clip is a JSON file. Whether every skeleton has
    its image shows when the video is opened: `FrameFolder` pairs them and raises VideoError where one is missing.

    Args:
        root: the folder. Links are followed.

    Attributes:
        records: the clips, sorted by name.
        left_out: clips of actions or views that the data set does not have.

    Raises:
        DatasetError: no such folder, no clip in it, or the same clip in two places.
    """

    name = "nucla"
    metrics = ("accuracy",)

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.class_names = tuple(ACTIONS.values())
        self.cleaning = CleaningConfig(find_people=False)
        records, left_out = [], []
        clips, with_images = _find_clips(self.root)
        for clip_id, file in sorted(clips.items()):
            action, subject, view = map(int, _PARTS.fullmatch(clip_id).groups())
            if action not in ACTIONS or view not in VIEWS:
                part = f"action {action}" if action not in ACTIONS else f"view {view}"
                left_out.append(LeftOut(clip_id, "index", f"the data set has no {part}", str(file)))
                continue
            records.append(
                ClipRecord(
                    clip_id=clip_id,
                    label=tuple(ACTIONS).index(action),
                    subject=subject,
                    camera=view,
                    setup=0,
                    skeleton=file,
                    video=file if file in with_images else None,
                    frame_rate=FRAME_RATE,
                    layout=KINECT_V1,
                )
            )
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        if not records:
            found = f"{len(left_out)} clips of other actions or views" if left_out else "no such file or folder"
            raise DatasetError(
                "no clip of Northwestern-UCLA in the data root", file=self.root, found=found, expected=FOLDERS, fix=GET_IT
            )

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's file or folder. Raises SkeletonFormatError, see `read_nucla_json` and `read_nucla_frames`."""
        read = read_nucla_json if record.skeleton.suffix == ".json" else read_nucla_frames
        return read(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "view1", "view2", "view3": that view tests, the other two train. The published one is "view3"."""
        return {f"view{view}": self._split(view) for view in VIEWS}

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of "view3" that do not have the clips of the whole data set."""
        published: dict[tuple[str, str], list[str]] = {side: [] for side in EXPECTED_CLIPS}
        for clip_id in published_clips():
            published["view3", "test" if clip_id.endswith("_v03") else "train"].append(clip_id)
        return count_mismatches(self.protocols(), EXPECTED_CLIPS, published)

    def _split(self, view: int) -> Split:
        train = tuple(record.clip_id for record in self.records if record.camera != view)
        return Split(train, tuple(record.clip_id for record in self.records if record.camera == view))


def published_clips() -> tuple[str, ...]:
    """The ids of the 1484 clips of the JSON form, from `data/nucla_clips.txt`."""
    clips = []
    for line in published_lines("nucla_clips.txt"):
        action_subject, *views = line.split()
        for view, repetitions in zip(VIEWS, views, strict=True):
            clips += [f"{action_subject}_e{number:02d}_v{view:02d}" for number in _numbers(repetitions)]
    return tuple(clips)


def _numbers(text: str) -> list[int]:
    """0-2,4 is [0, 1, 2, 4]; none is []."""
    numbers: list[int] = []
    for part in () if text == "none" else text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _find_clips(root: Path) -> tuple[dict[str, Path], set[Path]]:
    """Clip id → JSON file or folder of frames; and the folders among them that hold colour images."""
    clips: dict[str, Path] = {}
    with_images = set()
    for folder, names in walk_folders(root, expected=FOLDERS, fix=GET_IT):
        for name in names:
            if match := _JSON_NAME.fullmatch(name):
                add_clip(clips, match[1], folder / name)
        match = _CLIP_FOLDER.fullmatch("/".join(folder.parts[-2:]))
        if match and any(_FRAME_NAME.fullmatch(name) for name in names):
            add_clip(clips, f"{match[2]}_v{int(match[1]):02}", folder)
            if any(_IMAGE_NAME.fullmatch(name) for name in names):
                with_images.add(folder)
    return clips, with_images


def read_nucla_json(path: str | Path) -> SkeletonSequence:
    """Reads a clip in JSON form.

    Args:
        path: the file.

    Returns:
        Joints (T, 1, 20, 3) in metres, y up. A joint at exactly (0, 0, 0), the place of the sensor, is unknown: NaN. No pixels:
        this form comes without images.

    Raises:
        SkeletonFormatError: the file cannot be read, is no JSON, has no "skeletons" of shape (T, 20, 3), T at least 1, or
            is of another clip than its name says.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        found = error.strerror or str(error)
        raise SkeletonFormatError("the skeleton file cannot be read", file=path, found=found, fix=FILE_FIX) from error
    except (ValueError, RecursionError) as error:  # also: no text, brackets without end
        raise SkeletonFormatError("the file is not JSON", file=path, found=str(error), fix=FILE_FIX) from error
    if not isinstance(content, dict) or "skeletons" not in content:
        raise SkeletonFormatError("the file has no skeletons", file=path, expected='the key "skeletons"', fix=FILE_FIX)
    clip = content.get("file_name", path.stem)
    if clip != path.stem:
        raise SkeletonFormatError(
            "the file is of another clip",
            file=path,
            place="file_name",
            found=repr(clip),
            expected=repr(path.stem),
            fix=FILE_FIX,
        )
    try:
        joints = np.array(content["skeletons"], np.float64)
    except (ValueError, TypeError, OverflowError):  # ragged, or something that is no number
        joints = None
    if joints is None or joints.shape[1:] != (_JOINTS, 3) or not len(joints):
        raise SkeletonFormatError(
            "the skeletons have the wrong shape", file=path, place="skeletons",
            found="not an array of numbers" if joints is None else joints.shape, expected=f"(frames, {_JOINTS}, 3)",
            fix=FILE_FIX,
        )  # fmt: skip
    return SkeletonSequence(_unknown_to_nan(joints)[:, None], KINECT_V1)


def read_nucla_frames(folder: str | Path) -> SkeletonSequence:
    """Reads a clip in the data set's own form: a folder with a text file per frame.

    Args:
        folder: the folder of the clip.

    Returns:
        Joints (T, 1, 20, 3) of the first body in metres, y up, NaN in frames without a body; tracking (T, 1, 20). A joint at
        exactly (0, 0, 0), the place of the sensor, is unknown: NaN. Pixels (T, 1, 20, 2) of the colour images, projected with
        nominal values as the head of this file says: up to about 20 off; NaN also where z is not positive.

    Raises:
        SkeletonFormatError: the folder has no frame, two files of one frame, or a file that is cut short or not of its format.
    """
    folder = Path(folder)
    files: dict[int, Path] = {}
    for file in sorted(folder.glob("frame_*")):
        if match := _FRAME_NAME.fullmatch(file.name):
            other = files.setdefault(int(match[1]), file)
            if other != file:
                raise SkeletonFormatError("a frame has two files", file=file, found=f"also {other.name}", fix=FILE_FIX)
    if not files:
        raise SkeletonFormatError(
            "the clip has no frame", file=folder, found="no such file", expected="frame_*_skeletons.txt", fix=FILE_FIX
        )
    rows = np.array([_read_frame(files[frame]) for frame in sorted(files)])
    tracking = np.where(np.isnan(rows[..., 3]), 0, rows[..., 3]).astype(np.uint8)
    joints = _unknown_to_nan(rows[..., :3])[:, None]
    pixels = project(joints, focal_length=COLOR_FOCAL_LENGTH, image_size=IMAGE_SIZE)
    return SkeletonSequence(joints, KINECT_V1, pixels, tracking[:, None])


def _read_frame(path: Path) -> np.ndarray:
    """float64 (20, 4): x, y, z, tracking state of the first body; NaN where the file is empty."""
    lines = text_lines(path)
    if not lines:
        return np.full((_JOINTS, 4), np.nan)
    if len(lines) % (1 + _JOINTS):
        raise SkeletonFormatError(
            "the file is cut short", file=path, found=f"{len(lines)} lines",
            expected=f"a line with one number and {_JOINTS} lines for each body", fix=FILE_FIX,
        )  # fmt: skip
    number_rows(path, lines[:1], 1)
    rows = number_rows(path, lines[1 : 1 + _JOINTS], 4, first=2)
    wrong = ~np.isin(rows[:, 3], (0, 1, 2))
    if wrong.any():
        joint = int(wrong.argmax())
        raise SkeletonFormatError(
            "wrong tracking state of a joint", file=path, place=f"line {2 + joint}", found=f"{rows[joint, 3]:g}",
            expected="0, 1 or 2", fix=FILE_FIX,
        )  # fmt: skip
    return rows


def _unknown_to_nan(joints: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        joints = joints.astype(np.float32)
    unknown = (joints == 0).all(axis=-1) | ~np.isfinite(joints).all(axis=-1)
    return np.where(unknown[..., None], np.float32(np.nan), joints)
