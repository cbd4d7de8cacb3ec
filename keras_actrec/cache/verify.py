"""Verifying a cache: every shard, every clip, every option; the data are read whole, so every checksum is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from keras_actrec.cache import clip_maps, clip_views
from keras_actrec.cache.person_clip_writer import frame_name
from keras_actrec.cache.reader import HEADER_DAMAGE, TEXT_CHECKSUM, ShardHeader, read_header, text_checksum
from keras_actrec.cache.schema import (
    CLIP_MAPS,
    FLOW,
    FRAME_CUBES,
    GLIMPSE_MAPS,
    HAND_FEATURES,
    PERSON_CLIPS,
    POSES,
    SCHEMA_VERSION,
    CacheIndex,
    load_index,
)
from keras_actrec.video.jpeg import jpeg_size

_REPAIR = "delete the shard (--repair does) and run the extraction again: it fills what is missing"
_GO_ON = "run the extraction again with the same options"
_ROWS_AT_ONCE = 256
_DAMAGE = HEADER_DAMAGE


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        shard: file name of the shard.
        clip: clip id; "" where it concerns the whole shard.
        what: what is wrong.
        fix: the way out.
        missing: the shard is not there, as opposed to damaged.
    """

    shard: str
    clip: str
    what: str
    fix: str
    missing: bool = False

    def __str__(self) -> str:
        clip = f", clip {self.clip}" if self.clip else ""
        return f"{self.shard}{clip}: {self.what}. {self.fix[0].upper()}{self.fix[1:]}"


@dataclass(frozen=True)
class VerifyReport:
    """The outcome: shards and clips that were checked, clips left out by the extraction, problems."""

    directory: Path
    shards: int
    clips: int
    left_out: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        state = "sound" if self.ok else f"{len(self.problems)} problems"
        first = f"{self.directory}: {state}; {self.shards} shards, {self.clips} clips, {self.left_out} left out"
        return "\n".join([first, *(f"  {problem}" for problem in self.problems)])


def verify_cache(directory: str | Path, *, on_shard: Callable[[str], None] | None = None) -> VerifyReport:
    """Checks a cache.

    Every shard of the plan is there and opens; its attributes equal the index; every checksum holds; each planned clip is
    present or left out exactly once; lengths agree between datasets; a hand has features where the mask says so and
    zeros elsewhere; all values that should be finite are; JPEGs of person clips are whole and have the size of the options
    (their pixels are not decoded, and those in folders have no checksums).

    Args:
        directory: folder of the cache.
        on_shard: called with the name of each shard after it was checked (progress).

    Raises:
        CacheError: there is no index, or it does not read.
    """
    directory = Path(directory)
    index = load_index(directory)
    problems: list[Problem] = []
    clips = left_out = 0
    for shard in range(len(index.shards)):
        header = None
        found = []
        try:
            for item in _check_shard(directory, index, shard):
                if isinstance(item, ShardHeader):
                    header = item
                else:
                    found.append(item)
        except _DAMAGE as error:
            found.append(Problem(index.shard_name(shard), "", f"does not read: {_first_line(error)}", _REPAIR))
        if header is not None:
            clips, left_out = clips + len(header.lengths), left_out + len(header.left_out)
        problems += found
        if on_shard is not None:
            on_shard(index.shard_name(shard))
    problems += _strangers(directory, index)
    return VerifyReport(directory, len(index.shards), clips, left_out, tuple(problems))


def repair_cache(report: VerifyReport) -> list[Path]:
    """Deletes the shards in which problems were found, so that the extraction fills them again. Returns their paths."""
    damaged = sorted({report.directory / problem.shard for problem in report.problems if not problem.missing})
    for path in damaged:
        path.unlink(missing_ok=True)
    return damaged


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _strangers(directory: Path, index: CacheIndex) -> Iterator[Problem]:
    names = {index.shard_name(shard) for shard in range(len(index.shards))}
    for path in sorted(directory.glob("*.h5")):
        if path.name not in names:
            yield Problem(path.name, "", "the index does not know this shard", "delete it (--repair does)")


def _check_shard(directory: Path, index: CacheIndex, shard: int) -> Iterator[Problem | ShardHeader]:
    name = index.shard_name(shard)
    path = directory / name
    if not path.exists():
        yield Problem(name, "", f"is missing ({len(index.shards[shard])} clips)", _GO_ON, missing=True)
        return
    with h5py.File(path, "r", locking="best-effort") as file:
        file.visititems(lambda name, item: None)  # reads tables that no reader may need, such as those of free space
        header = read_header(file)
        yield header
        if header.schema_version != SCHEMA_VERSION:
            yield Problem(name, "", f"schema version {header.schema_version} instead of {SCHEMA_VERSION}", _REPAIR)
        differing = header.options.differences(index.options)
        for option, found, expected in differing:
            yield Problem(name, "", f"option {option} is {found!r}, the index says {expected!r}", _REPAIR)
        if not differing and file.attrs.get(TEXT_CHECKSUM, text := text_checksum(file)) != text:
            yield Problem(name, "", "the text of its attributes has changed", _REPAIR)
        yield from _check_clip_list(name, header, index.shards[shard])
        check = _CHECKS.get(index.options.kind)
        if check is not None:
            yield from check(name, file, header)


def _check_clip_list(name: str, header: ShardHeader, planned: tuple[str, ...]) -> Iterator[Problem]:
    seen = [*header.lengths, *(entry.clip_id for entry in header.left_out)]
    for clip in sorted(set(planned) | set(seen)):
        times = seen.count(clip)
        if clip not in planned:
            yield Problem(name, clip, "is in this shard, but the index does not plan it here", _REPAIR)
        elif times != 1:
            yield Problem(name, clip, f"is present or left out {times} times instead of once", _REPAIR)


def _check_poses(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    for clip, length in header.lengths.items():
        try:
            group = file["clips"][clip]
            arrays = {key: group[key][()] for key in ("joints", "pixels", "test_frames", "test_tensors")}
        except _DAMAGE as error:
            yield Problem(name, clip, f"does not read: {_first_line(error)}", _REPAIR)
            continue
        for what in _pose_problems(length, **arrays):
            yield Problem(name, clip, what, _REPAIR)


def _pose_problems(
    length: int, joints: np.ndarray, pixels: np.ndarray, test_frames: np.ndarray, test_tensors: np.ndarray
) -> Iterator[str]:
    if joints.ndim != 4 or joints.shape[:2] != (length, 2) or joints.shape[3] != 3:
        yield f"joints have shape {joints.shape}, the clip list says ({length}, 2, J, 3)"
    if pixels.shape != (*joints.shape[:3], 2):
        yield f"pixels have shape {pixels.shape}, joints have {joints.shape}"
    if test_tensors.shape[:2] != test_frames.shape:
        yield f"test tensors have shape {test_tensors.shape}, test frames have {test_frames.shape}"
    if test_frames.size and not (test_frames.min() >= 0 and test_frames.max() < length):
        yield f"test frames lie in {test_frames.min()}..{test_frames.max()}, the clip has {length} frames"
    if not np.isfinite(test_tensors).all():
        yield "test tensors hold values that are not finite"
    if np.isinf(joints).any() or np.isnan(joints).all():
        yield "joints hold infinite values or nothing at all"


def _check_features(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    features, mask = file["features"], file["mask"][()]
    total = sum(header.lengths.values())
    if features.shape != (total, 4, 2048) or mask.shape != (total, 4):
        sizes = f"features {features.shape}, mask {mask.shape}"
        yield Problem(name, "", f"{sizes}, but the lengths of the clips sum to {total}", _REPAIR)
        return
    first = 0
    for clip, length in header.lengths.items():
        if header.offsets[clip] != first:
            yield Problem(name, clip, f"starts at row {header.offsets[clip]} instead of {first}", _REPAIR)
        try:
            for what in _feature_problems(features, mask, first, first + length):
                yield Problem(name, clip, what, _REPAIR)
        except _DAMAGE as error:
            yield Problem(name, clip, f"does not read: {_first_line(error)}", _REPAIR)
        first += length


def _feature_problems(features: h5py.Dataset, mask: np.ndarray, start: int, stop: int) -> Iterator[str]:
    for low in range(start, stop, _ROWS_AT_ONCE):
        high = min(low + _ROWS_AT_ONCE, stop)
        values = features[low:high]
        if not np.isfinite(values).all():
            yield f"features of frames {low - start}..{high - start - 1} hold values that are not finite"
        wrong = np.argwhere((values != 0).any(axis=2) != mask[low:high])
        if len(wrong):
            frame, hand = wrong[0]
            state = "present but all zeros" if mask[low + frame, hand] else "absent but not zero"
            yield f"frame {low - start + frame}: hand {hand} is {state} ({len(wrong)} such hands)"


def _check_clip_maps(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    yield from _check_views(name, file, header, clip_maps.views_of(header.options), {"maps": (5, "map")})


def _check_glimpse_maps(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    datasets = {"maps": (5, "map"), "context": (3, "context"), "joints": (5, "joints")}
    yield from _check_views(name, file, header, clip_views.split_views(header.options), datasets)


def _check_frame_cubes(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    datasets = {"cubes": (5, "cube"), "pooled": (3, "pooled vector"), "joints": (4, "joints")}
    yield from _check_views(name, file, header, clip_views.split_views(header.options), datasets)


def _check_views(
    name: str, file: h5py.File, header: ShardHeader, views: int, datasets: Mapping[str, tuple[int, str]]
) -> Iterator[Problem]:
    """datasets: name → number of axes, and what one view of it is called. Joints may be absent (NaN)."""
    rows = len(header.lengths) * views
    for dataset, (axes, _) in datasets.items():
        shape = file[dataset].shape
        if len(shape) != axes or shape[0] != rows:
            what = f"{dataset} {shape}, but {len(header.lengths)} clips of {views} views make {rows} rows"
            yield Problem(name, "", what, _REPAIR)
            return
    for row, (clip, view) in enumerate((clip, view) for clip in header.lengths for view in range(views)):
        for dataset, (_, what) in datasets.items():
            try:
                values = file[dataset][row]
                if dataset == "joints":
                    if (np.abs(values) > 1).any():
                        yield Problem(name, clip, f"the {what} of view {view} lie outside of [-1, 1]", _REPAIR)
                elif not np.isfinite(values).all():
                    yield Problem(name, clip, f"the {what} of view {view} holds values that are not finite", _REPAIR)
            except _DAMAGE as error:
                yield Problem(name, clip, f"does not read: {_first_line(error)}", _REPAIR)


def _check_flow(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    flow, sizes = file["flow"], file["source_sizes"][()]
    expected = (sum(header.lengths.values()), 2, *header.options.options["picture_size"])
    if flow.shape != expected or flow.dtype != np.uint8:
        yield Problem(name, "", f"flow {flow.dtype} {flow.shape}, but the clips make uint8 {expected}", _REPAIR)
        return
    if sizes.shape != (len(header.lengths), 2) or (sizes < 1).any():
        yield Problem(name, "", f"sizes of the videos {sizes.shape} or not positive for {len(header.lengths)} clips", _REPAIR)
    first = 0
    for clip, length in header.lengths.items():
        if header.offsets[clip] != first:
            yield Problem(name, clip, f"starts at row {header.offsets[clip]} instead of {first}", _REPAIR)
        for frame in range(length):
            try:
                flow[first + frame]  # its checksum is all that can be wrong
            except _DAMAGE as error:
                yield Problem(name, clip, f"the flow of frame {frame} does not read: {_first_line(error)}", _REPAIR)
                break
        first += length


def _check_person_clips(name: str, file: h5py.File, header: ShardHeader) -> Iterator[Problem]:
    total, size = sum(header.lengths.values()), header.options.options["size"]
    boxes = file["boxes"][()]
    if boxes.shape != (total, 4) or not np.isfinite(boxes).all():
        yield Problem(name, "", f"boxes {boxes.shape} or not finite, but the lengths of the clips sum to {total}", _REPAIR)
    in_shard = header.options.options["storage"] == "hdf5"
    table = file["frame_bytes"][()] if in_shard else None
    if in_shard and not _follow_each_other(table, total, len(file["jpegs"])):
        yield Problem(name, "", "the places of the images do not follow each other to the end", _REPAIR)
        return
    first = 0
    for clip, length in header.lengths.items():
        if header.offsets[clip] != first:
            yield Problem(name, clip, f"starts at row {header.offsets[clip]} instead of {first}", _REPAIR)
        folder = Path(file.filename).parent / clip
        for frame in range(length):
            try:
                if in_shard:
                    start, count = table[first + frame]
                    width, height = jpeg_size(file["jpegs"][start : start + count].tobytes())
                else:
                    width, height = jpeg_size((folder / frame_name(frame)).read_bytes())
                what = "" if width == height == size else f"is {width}x{height} instead of {size}x{size}"
            except _DAMAGE as error:
                what = f"does not read: {_first_line(error)}"
            if what:  # one of a clip is enough
                yield Problem(name, clip, f"the image of frame {frame} {what}", _REPAIR)
                break
        first += length


def _follow_each_other(table: np.ndarray, images: int, size: int) -> bool:
    """table: (n, 2), first byte and number of bytes of each image."""
    if table.shape != (images, 2):
        return False
    ends = np.cumsum(table[:, 1])
    return bool((table[:, 0] == ends - table[:, 1]).all() and (table[:, 1] > 0).all()) and size == (ends[-1] if images else 0)


_CHECKS = {
    POSES: _check_poses,
    HAND_FEATURES: _check_features,
    PERSON_CLIPS: _check_person_clips,
    CLIP_MAPS: _check_clip_maps,
    GLIMPSE_MAPS: _check_glimpse_maps,
    FRAME_CUBES: _check_frame_cubes,
    FLOW: _check_flow,
}
"""What is in a shard of each kind, beyond what all have: (name, file, header) → problems."""
