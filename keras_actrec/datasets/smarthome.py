"""Toyota Smarthome (trimmed): clip names, protocols, skeleton files, and the index of a folder with them.

S. Das, R. Dai, M. Koperski, L. Minciullo, L. Garattoni, F. Bremond, G. Francesca, "Toyota Smarthome: Real-World Activities of
Daily Living", ICCV 2019. 16,115 clips of 31 activities of 18 people aged 60 to 80, seen by seven cameras in one flat.

To be had from https://project.inria.fr/toyotasmarthome/ after signing its licence agreement: for academic research only, not
to be passed on. Folders below the data root have any name; the data set's own archives give

    mp4/ACTION_pNN_rNN_vNN_cNN.mp4                        640×480 pixels, 20 frames per second
    skeletons_v1.2/ACTION_pNN_rNN_vNN_cNN_pose3d.json     or, in releases before 1.2, ACTION_pNN_rNN_vNN_cNN.json

where ACTION is e.g. Cook.Cleandishes, p the person, r the repetition, v the recording, c the camera. A skeleton file is the
output of LCR-Net (in 1.2 refined by a network that lifts 2-D to 3-D):

    {"K": …, "njts": 13, "frames": [[{"pose2d": […], "pose3d": […]}, …], …]}

`frames` has one list per frame with one entry per person found, empty where none was. `pose2d` holds the x of the 13 joints in
pixels of the video, then their y; `pose3d` x, y and z likewise, in the unit of the release: the data set states none.
Releases before 1.2 add a "cumscore" to each person. The order of the people in a frame is that of the detector: a slot is
no track. A file may have one frame less than its video.

The files hold 32 activities: 14 clips are of Pour.Fromcup, which is none of the 31 published ones, and are left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.clip_files import find_clip_files
from keras_actrec.datasets.counts import CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX, check_joint_count
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import LCRNET_13
from keras_actrec.skeletons.sequence import SkeletonSequence

CROSS_VIEW_CLASSES = (
    "Cutbread", "Drink.Frombottle", "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack", "Enter",
    "Getup", "Leave", "Pour.Frombottle", "Pour.Fromcan", "Readbook", "Sitdown", "Takepills", "Uselaptop", "Usetablet",
    "Usetelephone", "Walk",
)  # fmt: skip
"""The 19 activities of the cross-view protocols."""

CROSS_SUBJECT_CLASSES = tuple(sorted({
    *CROSS_VIEW_CLASSES,
    "Cook.Cleandishes", "Cook.Cleanup", "Cook.Cut", "Cook.Stir", "Cook.Usestove", "Laydown",
    "Makecoffee.Pourgrains", "Makecoffee.Pourwater", "Maketea.Boilwater", "Maketea.Insertteabag", "Pour.Fromkettle", "WatchTV",
}))  # fmt: skip
"""The 31 activities of the data set."""

CLASSES = MappingProxyType({"cross_subject": CROSS_SUBJECT_CLASSES, "cross_view": CROSS_VIEW_CLASSES})

SUBJECTS = frozenset({2, 3, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 25})
TRAINING_SUBJECTS = frozenset({3, 4, 6, 7, 9, 12, 13, 15, 17, 19, 25})
VALIDATION_SUBJECTS = frozenset({19, 25})
TEST_CAMERA = 2
VALIDATION_CAMERA = 5
TRAINING_CAMERAS = MappingProxyType({"cross_view1": frozenset({1}), "cross_view2": frozenset({1, 3, 4, 6, 7})})
CAMERAS = range(1, 8)
FRAME_RATE = 20.0

EXPECTED_CLIPS = MappingProxyType({
    ("cross_subject", "train"): 10682,
    ("cross_subject", "test"): 5433,
    ("cross_view1", "train"): 1877,
    ("cross_view1", "test"): 1901,
    ("cross_view2", "train"): 7806,
    ("cross_view2", "test"): 1901,
})  # fmt: skip
"""Clips of the authors' split lists without Pour.Fromcup; cross-subject training is their training and validation lists."""

VIDEO_SUFFIX, SKELETON_SUFFIX, REFINED_SUFFIX = ".mp4", ".json", "_pose3d.json"
MODALITIES = ("both", "skeleton")
FOLDERS = "a folder with *.mp4 and *_pose3d.json (or *.json) files, as ROOT/mp4 and ROOT/skeletons"
JOINTS = len(LCRNET_13)

_NAME = re.compile(r"([A-Za-z]+(?:\.[A-Za-z]+)?)_p(\d{2})_r(\d{2})_v(\d{2})_c(\d{2})", re.ASCII)
_GET_IT = "get it from the data set, or leave the clip out"
_GET = "get Toyota Smarthome (https://project.inria.fr/toyotasmarthome/) and give its folder as data root"


@dataclass(frozen=True, order=True)
class ClipName:
    """The name of a clip: Cook.Cut_p03_r00_v02_c06 is person 3, repetition 0, recording 2, camera 6."""

    activity: str
    subject: int
    repetition: int
    recording: int
    camera: int

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Reads a name without folder and suffix. Raises DatasetError for anything that is not a name."""
        match = _NAME.fullmatch(name)
        if not match:
            raise DatasetError(
                "not a clip name of Toyota Smarthome",
                found=repr(name),
                expected="ACTION_pNN_rNN_vNN_cNN",
                fix="rename the file, or take it out of the data root",
            )
        return cls(match[1], *map(int, match.groups()[1:]))

    def __str__(self) -> str:
        return "{}_p{:02d}_r{:02d}_v{:02d}_c{:02d}".format(*astuple(self))


def cross_subject(names: Iterable[str]) -> Split:
    """Splits clip names by person: 11 of the 18 train, the others test. Raises DatasetError for a person it does not know.

    The authors' training list and their validation list (persons 19 and 25) are the training side together.
    """
    train, test = [], []
    for name in names:
        subject = ClipName.parse(name).subject
        _check_known("person", subject, SUBJECTS, name)
        (train if subject in TRAINING_SUBJECTS else test).append(name)
    return Split(tuple(train), tuple(test))


def cross_view(names: Iterable[str], protocol: str) -> Split:
    """Splits clip names by camera; clips of other cameras are on neither side.

    Camera 2 tests in both protocols. Camera 5, the authors' validation camera, does not train.

    Args:
        names: clip names.
        protocol: "cross_view1" (camera 1 trains) or "cross_view2" (cameras 1, 3, 4, 6 and 7 train).

    Raises:
        DatasetError: a camera that the data set does not have.
    """
    train, test = [], []
    for name in names:
        camera = ClipName.parse(name).camera
        _check_known("camera", camera, CAMERAS, name)
        if camera in TRAINING_CAMERAS[protocol]:
            train.append(name)
        elif camera == TEST_CAMERA:
            test.append(name)
    return Split(tuple(train), tuple(test))


def _check_known(part: str, number: int, known: Iterable[int], name: str) -> None:
    if number not in known:
        raise DatasetError(
            f"the protocols of Toyota Smarthome do not know this {part}", place=name, found=number,
            expected=f"one of {', '.join(map(str, sorted(known)))}", fix="take the clip out of the data root",
        )  # fmt: skip


def read_smarthome_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads a skeleton file of any release as it is: one slot per position in the frame's list of people.

    A joint with a coordinate that is not finite is unknown: NaN.

    Args:
        path: the file.

    Returns:
        Joints (T, P, 13, 3) in the unit of the release, pixels (T, P, 13, 2) of the 640×480 video; P is the most people in
        one frame, 0 where no frame has one.

    Raises:
        SkeletonFormatError: the file cannot be read, is empty, cut short, or not of the format; the message names the frame
            and the person.
    """
    path = Path(path)
    frames = _frames(path)
    people = max(map(len, frames))
    check_joint_count(path, len(frames), people, JOINTS)
    joints = np.full((len(frames), people, JOINTS, 3), np.nan, np.float32)
    pixels = np.full((len(frames), people, JOINTS, 2), np.nan, np.float32)
    for t, frame in enumerate(frames):
        for p, person in enumerate(frame):
            place = f"frame {t + 1}, person {p + 1}"
            if not isinstance(person, dict):
                _bad_file(path, "a person is no object", place=place, found=type(person).__name__, expected="object")
            joints[t, p] = _coordinates(path, place, person, "pose3d", 3)
            pixels[t, p] = _coordinates(path, place, person, "pose2d", 2)
    for values in (joints, pixels):
        values[~np.isfinite(values).all(axis=-1)] = np.nan
    return SkeletonSequence(joints=joints, layout=LCRNET_13, pixels=pixels)


def _frames(path: Path) -> list[list]:
    """The file's list of frames, at least one, each a list of people."""
    try:
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        _bad_file(path, "the skeleton file cannot be read", found=error.strerror, cause=error)
    except (ValueError, RecursionError) as error:  # also: no text, numbers of thousands of digits
        found = str(error) if data.strip() else "an empty file"
        _bad_file(path, "the skeleton file is no whole JSON", found=found, cause=error)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list):
        found = ", ".join(map(repr, content)) if isinstance(content, dict) else type(content).__name__
        _bad_file(path, "no list of frames", found=found or "nothing", expected="an object with 'njts' and 'frames'")
    if content.get("njts", JOINTS) != JOINTS:
        _bad_file(path, "not the joints of LCR-Net", place="njts", found=repr(content["njts"]), expected=JOINTS)
    if not frames:
        _bad_file(path, "no frames", found=0, expected="at least 1")
    for t, frame in enumerate(frames):
        if not isinstance(frame, list):
            _bad_file(path, "a frame is no list", place=f"frame {t + 1}", found=type(frame).__name__, expected="list")
    return frames


def _coordinates(path: Path, place: str, person: Mapping, key: str, axes: int) -> np.ndarray:
    """float32 (13, axes) of the file's x of all joints, y of all joints, …"""
    values, place = person.get(key), f"{place}, {key}"
    if not isinstance(values, list) or len(values) != axes * JOINTS:
        found = f"{len(values)} values" if isinstance(values, list) else type(values).__name__ if values else "nothing"
        _bad_file(path, "not the coordinates of 13 joints", place=place, found=found, expected=f"{axes * JOINTS} numbers")
    odd = [value for value in values if type(value) not in (int, float)]
    if odd:
        _bad_file(path, "a coordinate is no number", place=place, found=f"{odd[0]!r:.40}", expected=f"{axes * JOINTS} numbers")
    try:
        numbers = np.array(values, np.float64)
    except OverflowError as error:
        _bad_file(path, "a coordinate is too large", place=place, found=str(error), cause=error)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        return numbers.astype(np.float32).reshape(axes, JOINTS).T


def _bad_file(
    path: Path,
    problem: str,
    *,
    place: str | None = None,
    found: object = None,
    expected: object = None,
    cause: Exception | None = None,
) -> NoReturn:
    raise SkeletonFormatError(problem, file=path, place=place, found=found, expected=expected, fix=FILE_FIX) from cause


class ToyotaSmarthome:
    """The clips below a data root: every `NAME.mp4`, and `NAME_pose3d.json` or `NAME.json`, in any folder.

    The protocols do not have the same classes, and class numbers follow from the choice of protocol:

    - `classes="cross_subject"`: the 31 activities, protocol "cross_subject";
    - `classes="cross_view"`: the 19 activities of the cross-view protocols, "cross_view1" and "cross_view2"; clips of
      other activities are left out.

    The classes are very unequal (2,833 cross-subject training clips of Walk, 25 of Cutbread), so the authors report the mean of
    the accuracies of the classes. It comes first in `metrics`.

    Args:
        root: the folder. Links are followed.
        classes: "cross_subject" or "cross_view".
        modality: "both" (a clip needs its skeleton and its video) or "skeleton" (a clip needs its skeleton only).

    Attributes:
        class_names: activities by label, in alphabetical order.
        records: the clips that can be used, sorted by name; `setup` is 0.
        left_out: the clips that cannot, and why: another activity, no skeleton file, no video file.
        ignored: files with one of the suffixes whose names are no clip names.
        cleaning: one person lives in the flat, and the detector keeps no tracks: the first person of each frame is the first
            person of the clip, and only gaps are filled.
        metrics: what to report of this data set, the first one first: names in result files.

    Raises:
        ConfigError: unknown choice of classes, unknown modality.
        DatasetError: no such folder, no clip in it or none that can be used, or the same file of a clip in two places
            (also: skeletons of two releases).
    """

    name = "smarthome"
    metrics = ("mean_class_accuracy", "accuracy")
    cleaning = CleaningConfig(find_people=False)

    def __init__(self, root: str | Path, *, classes: str = "cross_subject", modality: str = "both"):
        for what, value, known in (("choice of classes", classes, CLASSES), ("modality", modality, MODALITIES)):
            if value not in known:
                raise ConfigError(f"unknown {what}", found=repr(value), expected=f"one of {', '.join(known)}")
        self.root, self.classes, self.modality = Path(root), classes, modality
        self.class_names: Sequence[str] = CLASSES[classes]
        files, self.ignored = _find_files(self.root)
        if not files:
            found = f"{len(self.ignored)} files with other names" if self.ignored else "no such file"
            self._fail("no clip of Toyota Smarthome in the data root", found=found)
        records, left_out = [], []
        for clip in sorted(files, key=str):
            skeleton, video = files[clip].get(SKELETON_SUFFIX), files[clip].get(VIDEO_SUFFIX)
            reason = self._why_left_out(clip, skeleton, video)
            if reason:
                left_out.append(LeftOut(str(clip), "index", reason, str(skeleton or video)))
            else:
                records.append(self._record(clip, skeleton, video))
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        if not records:
            reasons = Counter(clip.reason for clip in left_out).most_common()
            found = "; ".join(f"{number} clips: {reason}" for reason, number in reasons)
            self._fail("no clip in the data root can be used", found=found)

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's skeleton file as it is. Raises SkeletonFormatError, see `read_smarthome_skeleton`."""
        return read_smarthome_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "cross_subject", or "cross_view1" and "cross_view2", as `classes` says; each restricted to `records`."""
        names = [record.clip_id for record in self.records]
        if self.classes == "cross_subject":
            return {"cross_subject": cross_subject(names)}
        return {protocol: cross_view(names, protocol) for protocol in TRAINING_CAMERAS}

    def validation(self) -> Mapping[str, tuple[str, ...]]:
        """Protocol → the clips of the authors' validation list, among `records`.

        Persons 19 and 25 in "cross_subject": part of the training side of `protocols()`. Camera 5 in the cross-view protocols:
        on neither side.
        """
        if self.classes == "cross_subject":
            names = tuple(record.clip_id for record in self.records if record.subject in VALIDATION_SUBJECTS)
            return {"cross_subject": names}
        names = tuple(record.clip_id for record in self.records if record.camera == VALIDATION_CAMERA)
        return dict.fromkeys(TRAINING_CAMERAS, names)

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of protocols that do not have the number of clips of the authors' lists: the numbers only, since the names are
        known from the lists alone, which are not in the data root."""
        protocols = self.protocols()
        return count_mismatches(protocols, {side: n for side, n in EXPECTED_CLIPS.items() if side[0] in protocols})

    def _record(self, clip: ClipName, skeleton: Path, video: Path | None) -> ClipRecord:
        return ClipRecord(
            clip_id=str(clip),
            label=self.class_names.index(clip.activity),
            subject=clip.subject,
            camera=clip.camera,
            setup=0,
            skeleton=skeleton,
            video=video,
            frame_rate=FRAME_RATE,
            layout=LCRNET_13,
        )

    def _why_left_out(self, clip: ClipName, skeleton: Path | None, video: Path | None) -> str:
        if clip.activity not in self.class_names:
            return f"{clip.activity} is none of the {len(self.class_names)} activities of the protocol"
        if skeleton is None:
            return f"no skeleton file: {_GET_IT}"
        if video is None and self.modality == "both":
            return f"no video file: {_GET_IT}"
        return ""

    def _fail(self, problem: str, *, found: str) -> NoReturn:
        fix = 'give the folder that holds them as data root (modality="skeleton" needs no videos)'
        raise DatasetError(problem, file=self.root, found=found, expected=FOLDERS, fix=fix)


def _find_files(root: Path) -> tuple[dict[ClipName, dict[str, Path]], tuple[Path, ...]]:
    """Clip name → SKELETON_SUFFIX (of whatever release) and VIDEO_SUFFIX → file; and the files without a clip name."""
    found, ignored = find_clip_files(
        root, (REFINED_SUFFIX, SKELETON_SUFFIX, VIDEO_SUFFIX), ClipName.parse, expected=FOLDERS, fix=_GET
    )
    for files in found.values():
        if REFINED_SUFFIX in files and SKELETON_SUFFIX in files:
            raise DatasetError(
                "a clip has the skeletons of two releases", file=files[REFINED_SUFFIX], found=f"also {files[SKELETON_SUFFIX]}",
                expected="one", fix="keep the skeletons of one release in the data root",
            )  # fmt: skip
    return {
        clip: {SKELETON_SUFFIX if suffix == REFINED_SUFFIX else suffix: path for suffix, path in files.items()}
        for clip, files in found.items()
    }, ignored
