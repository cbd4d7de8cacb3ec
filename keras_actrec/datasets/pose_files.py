"""Pose files of any kind → `SkeletonSequence`: NTU text, NumPy archives, JSON, OpenPose's folders. docs/own_data.md shows each.

Sources: `pose_json` (JSON, OpenPose), `ntu_skeleton` (NTU text). The archives (`.npz`) hold arrays by name:

- `joints`: (T, P, J, 3) or, of one person, (T, J, 3), in metres; or (T, P, J, 2) or (T, J, 2), in pixels
- `pixels`, if there are any: the same with 2 as last axis
- `layout`: name of a joint layout, a string
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.datasets.pose_json import read_json, read_openpose
from keras_actrec.datasets.pose_tracks import join_frames
from keras_actrec.errors import ConfigError, SkeletonFormatError
from keras_actrec.files import whole_file
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.sequence import SkeletonSequence

SUFFIXES = (".skeleton", ".npz", ".json")
LARGEST_ARRAY = 1 << 30
"""Bytes of an array of an archive."""
FIX = "write the file again, or leave the clip out; docs/own_data.md shows every form"


def read_pose_file(
    path: str | Path,
    *,
    layout: SkeletonLayout | None = None,
    min_confidence: float = 0.0,
    first_frame: int | None = None,
) -> SkeletonSequence:
    """Reads the poses of a clip, raw: no cleaning.

    The suffix says what a file is: `.skeleton`, `.npz` or `.json`, whose form is known by its content; a folder is OpenPose's.

    Args:
        path: the file, or the folder.
        layout: what the joints are, where the file does not say (`.npz` and our own JSON form without layout, key points of
            COCO results or MMPose that are not COCO's 17). A file of another layout is refused.
        min_confidence: key points below this confidence (visibility, score) are unknown. Those of confidence 0 always are.
        first_frame: number of the clip's first image in COCO results, which have no entry for frames without people. By
            default 0 for names of AlphaPose's video frames ("12.jpg"), else the lowest number of the file.

    Returns:
        Joints (T, P, J, 3) in metres, NaN where unknown; of a 2-D source pixels x, y with z = 0. Pixels (T, P, J, 2), None
        where the source has none. People as `join_frames` finds them.

    Raises:
        ConfigError: min_confidence is no number of at least 0.
        SkeletonFormatError: the file cannot be read, is empty, cut short, none of these forms, or of another layout.
    """
    path = Path(path)
    check_min_confidence(min_confidence)
    if path.is_dir():
        found, frames = read_openpose(path, min_confidence=min_confidence)
        sequence = join_frames(frames, found, file=path)
    elif path.suffix == ".skeleton":
        sequence = read_ntu_skeleton(path)
    elif path.suffix == ".npz":
        sequence = _read_npz(path, layout)
    elif path.suffix == ".json":
        found, frames = read_json(path, layout=layout, min_confidence=min_confidence, first_frame=first_frame)
        sequence = join_frames(frames, found, file=path)
    else:
        expected = f"{', '.join(SUFFIXES)}, or a folder of OpenPose's files"
        _fail(path, "not a pose file", found=f"suffix {path.suffix!r}", expected=expected)
    if layout is not None and sequence.layout.name != layout.name:
        _fail(
            path, "the joints are of another layout", found=sequence.layout.name, expected=layout.name,
            fix="take the clip out, or map every clip to one layout first",
        )  # fmt: skip
    return sequence


def write_pose_file(path: str | Path, sequence: SkeletonSequence) -> Path:
    """Writes the poses of a clip as a NumPy archive that `read_pose_file` reads: joints, pixels where there are any, layout.

    Raises:
        ConfigError: the joints have a layout that has no name in `LAYOUTS`, so that no reader would know it.
        DiskFullError: no space left.
    """
    path, layout = Path(path), sequence.layout
    if LAYOUTS.get(layout.name) != layout:
        raise ConfigError(
            "this joint layout cannot be named in a file", found=layout.name, expected=f"one of {', '.join(LAYOUTS)}"
        )
    arrays = {"joints": sequence.joints.astype(np.float32)}
    if sequence.pixels is not None:
        arrays["pixels"] = sequence.pixels.astype(np.float32)
    with whole_file(path, shared=True) as part, part.open("wb") as file:
        np.savez_compressed(file, layout=np.str_(layout.name), **arrays)
    return path


def check_min_confidence(min_confidence: float) -> None:
    """Raises ConfigError for anything but a number of at least 0."""
    if not min_confidence >= 0:
        raise ConfigError("min_confidence is out of range", found=min_confidence, expected="a number of at least 0")


def _read_npz(path: Path, layout: SkeletonLayout | None) -> SkeletonSequence:
    arrays = _load_npz(path)
    layout = _npz_layout(path, arrays.get("layout"), layout)
    joints = _coordinates(path, "joints", arrays["joints"], layout, (3, 2))
    pixels = _coordinates(path, "pixels", arrays["pixels"], layout, (2,)) if "pixels" in arrays else None
    if joints.shape[-1] == 2:
        pixels = joints if pixels is None else pixels
        joints = np.concatenate([joints, np.where(np.isnan(joints[..., :1]), np.float32(np.nan), np.float32(0))], axis=-1)
    if pixels is not None and pixels.shape[:3] != joints.shape[:3]:
        _fail(path, "pixels do not fit the joints", found=pixels.shape, expected=(*joints.shape[:3], 2))
    return SkeletonSequence(joints, layout, pixels)


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array that this form knows. Pickled objects are refused: reading one can run any program."""
    try:
        _check_archive_size(path)
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            _fail(path, "not a NumPy archive", found="a single array", expected="a file written by numpy.savez")
        with archive:
            if "joints" not in archive.files:
                found = ", ".join(archive.files) or "no array"
                _fail(path, "the archive has no joints", found=found, expected="an array called joints")
            arrays = {name: archive[name] for name in archive.files if name in ("joints", "pixels", "layout")}
        odd = next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None)
        if odd is not None:
            _fail(path, "this is no array", place=odd, expected="a file written by numpy.savez")
        return arrays
    except SkeletonFormatError:
        raise
    except Exception as error:  # NumPy and zipfile let many kinds of errors through for damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SkeletonFormatError(
            "the archive cannot be read", file=path, found=reason, expected="a file written by numpy.savez", fix=FIX
        ) from error


def _check_archive_size(path: Path) -> None:
    """Raises SkeletonFormatError where an array is larger than any clip: kilobytes of zip can hold gigabytes of zeros."""
    if not zipfile.is_zipfile(path):
        return  # a single array, or no file of NumPy
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename in ("joints.npy", "pixels.npy", "layout.npy") and member.file_size > LARGEST_ARRAY:
                _fail(path, "an array is too large", place=member.filename, found=member.file_size, expected=f"{LARGEST_ARRAY}")


def _npz_layout(path: Path, name: np.ndarray | None, wanted: SkeletonLayout | None) -> SkeletonLayout:
    if name is None and wanted is not None:
        return wanted
    text = name.item() if name is not None and name.shape == () and name.dtype.kind == "U" else None
    if wanted is not None and text == wanted.name:
        return wanted
    if text not in LAYOUTS:
        found = "none" if name is None else repr(name.tolist())
        _fail(path, "unknown joint layout", place="layout", found=found, expected=f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[text]


def _coordinates(path: Path, name: str, array: np.ndarray, layout: SkeletonLayout, last: tuple[int, ...]) -> np.ndarray:
    """float32 (T, P, J, 2 or 3); a point with a coordinate that is not finite is NaN."""
    shape = array.shape
    if array.dtype.kind not in "iuf" or array.ndim not in (3, 4) or shape[-2] != len(layout) or shape[-1] not in last:
        expected = f"numbers (T, P, {len(layout)}, {last[0]}), joints of {layout.name}"
        _fail(path, "an array has the wrong shape or type", place=name, found=f"{array.dtype} {shape}", expected=expected)
    if not shape[0]:
        _fail(path, "the clip has no frame", place=name, found=shape, expected="at least 1")
    with np.errstate(over="ignore"):
        array = (
            array.astype(np.float32).reshape(shape[0], -1, *shape[-2:]) if array.size else np.zeros((shape[0], 0, *shape[-2:]))
        )
    return np.where(np.isfinite(array).all(axis=-1, keepdims=True), array, np.float32(np.nan)).astype(np.float32)


def _fail(
    path: Path, problem: str, *, place: str | None = None, found: object = None, expected: object = None, fix: str = FIX
) -> NoReturn:
    raise SkeletonFormatError(problem, file=path, place=place, found=found, expected=expected, fix=fix)
