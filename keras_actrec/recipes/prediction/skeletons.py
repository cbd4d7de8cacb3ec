"""Poses of any source → the poses that an exported model takes: its people, its joints, its kind of coordinates."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_actrec.errors import ConfigError, SkeletonFormatError, VideoError
from keras_actrec.recipes.prediction.model import LoadedModel
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import (
    COCO_17,
    JHMDB_15,
    KINECT_V2,
    LAYOUTS,
    MEDIAPIPE_33,
    OPENPOSE_18,
    PENN_13,
)
from keras_actrec.skeletons.retarget import retarget
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader

PLANAR_SOURCES = frozenset(layout.name for layout in (JHMDB_15, PENN_13, COCO_17, OPENPOSE_18))
"""Layouts whose data sets and tools have joints in pixels, y down, and no depth."""

MIRRORED = {KINECT_V2.name, MEDIAPIPE_33.name}
"""Layouts whose x point against each other: Kinect v2's to the left of the picture, that of estimated poses to the right
(`datasets/mediapipe_poses.py`). Left and right of the body stay what they are."""

_NOBODY = (
    "use a video in which a person is seen whole and larger, ask for people of less certainty "
    "(PoseEstimationConfig.detection_confidence), or give the poses by --skeleton FILE"
)


class PoseAdapter:
    """Fits the poses of clips to a model, and says once where they are of another kind than those it learned from.

    Args:
        model: the exported model.

    Raises:
        ConfigError: the model looks at joints that this version has no layout for.
    """

    def __init__(self, model: LoadedModel):
        self._model, self._description, self._warned = model, model.description, False
        self.layout = _layout_of(model)

    def __call__(self, raw: SkeletonSequence, video: Video, *, source: str | Path | None = None) -> SkeletonSequence:
        """The people of a clip as the model takes them: cleaned as in its training, then retargeted to its joints.

        Args:
            raw: bodies (T, P, J, 3) of any layout, as read or estimated.
            video: of the clip, for messages.
            source: file of the poses; None: they were estimated in the video.

        Returns:
            Two people (T, 2, J, 3) in the model's layout; `raw` for a model that needs no poses.

        Raises:
            SkeletonFormatError: no body in the file.
            VideoError: nobody was found in the video.
            ConfigError: a joint of the model that no rule derives from those of the source, or poses in pixels for a model that
                takes metres.
        """
        if not self._model.needs_skeleton:
            return raw
        if not somebody(raw):
            raise nobody(video, source)
        self._warn(raw.layout, source)
        sequence, _ = clean(self._of_kind(raw, source), CleaningConfig(**self._description.cleaning), file=source)
        return sequence if raw.layout.joints == self.layout.joints else retarget(sequence, self.layout)

    @property
    def learned_from(self) -> str:
        """Layout of the poses that the model's training read, before they were retargeted."""
        return getattr(self._description, "source_layout", None) or self._description.layout

    def _warn(self, layout: SkeletonLayout, source: str | Path | None) -> None:
        if self._warned or layout.name == self.learned_from:
            return
        self._warned = True
        found = f"estimated in the video ({layout.name})" if source is None else f"of layout {layout.name}"
        warnings.warn(
            f"the model learned from poses of layout {self.learned_from}, and these are {found}: joints are mapped by their "
            "names, but every sensor puts them at slightly different places, so expect less accuracy than in its test",
            stacklevel=4,
        )

    def _of_kind(self, raw: SkeletonSequence, source: str | Path | None) -> SkeletonSequence:
        """Joints in pixels, y down, for a model that learned from such; y up, and x to its side, for one of metres."""
        planar = not np.nan_to_num(raw.joints[..., 2]).any()
        wanted = self.learned_from in PLANAR_SOURCES
        if not planar and {raw.layout.name, self.learned_from} == MIRRORED:
            return replace(raw, joints=raw.joints * np.array([-1, 1, 1], np.float32))
        if planar == wanted:
            return raw
        if wanted:
            if raw.pixels is None:
                return raw
            depth = np.where(np.isnan(raw.pixels[..., :1]), np.float32(np.nan), np.float32(0))
            return replace(raw, joints=np.concatenate([raw.pixels, depth], axis=-1).astype(np.float32))
        if getattr(self._description, "tensor", {}).get("scale") == "none":
            raise ConfigError(
                "the model takes poses in metres", file=source, found="poses in pixels, without depth",
                expected=f"poses of layout {self.learned_from}, in metres",
                fix="leave out the skeleton, and poses in metres are estimated; or train with poses of this kind",
            )  # fmt: skip
        return replace(raw, joints=raw.joints * np.array([1, -1, 1], np.float32))


def check_inside(video: Video, sequence: SkeletonSequence) -> None:
    """Raises VideoError where most of the joints lie outside of the video's frame: they are those of another size or clip."""
    if sequence.pixels is None:
        return
    with VideoReader(video) as reader:
        size = (reader.width, reader.height)
    known = sequence.pixels[np.isfinite(sequence.pixels).all(axis=3)]
    outside = ((known < 0) | (known >= size)).any(axis=1)
    if len(known) and outside.mean() > 0.5:
        raise VideoError(
            "the skeleton does not fit the video: most joints lie outside of its frame", file=str(video),
            found=f"{outside.mean():.0%} outside of {size[0]}×{size[1]}, joints up to x {known[:, 0].max():.0f}, "
            f"y {known[:, 1].max():.0f}", expected="at most half of them",
            fix="give the skeleton of this clip in pixels of this very video (not of a larger copy), or none",
        )  # fmt: skip


def somebody(sequence: SkeletonSequence, frame_size: tuple[int, int] | None = None) -> bool:
    """Whether there is a body in any frame; with a frame size (width, height), one that is seen in such a video."""
    known = np.isfinite(sequence.joints).all(axis=3) & (sequence.joints != 0).any(axis=3)
    if frame_size is not None and sequence.pixels is not None:
        known &= ((sequence.pixels >= 0) & (sequence.pixels < frame_size)).all(axis=3)
    return bool(known.any())


def sequence_part(sequence: SkeletonSequence, start: int, stop: int) -> SkeletonSequence:
    """Frames [start, stop) of a sequence; no copy."""
    cut = {name: getattr(sequence, name) for name in ("joints", "pixels", "tracking")}
    return replace(sequence, **{name: None if values is None else values[start:stop] for name, values in cut.items()})


def _layout_of(model: LoadedModel) -> SkeletonLayout | None:
    description = model.description
    layout = LAYOUTS.get(description.layout)
    if model.needs_skeleton and (layout is None or layout.joints != tuple(description.joints)):
        raise ConfigError(
            "the exported model takes joints that this version has no layout for", file=model.directory,
            found=description.layout, expected=f"one of {', '.join(LAYOUTS)}, with its joints",
            fix="use the version that wrote it, see keras_actrec in its actrec.json",
        )  # fmt: skip
    return layout


def nobody(video: Video, source: str | Path | None) -> SkeletonFormatError | VideoError:
    """The error for poses without anybody, from a file or (None) estimated in the video."""
    if source is None:
        return VideoError("nobody was found in the video", file=str(video), expected="a person, for this model", fix=_NOBODY)
    fix = "give the skeleton of this clip, or none"
    return SkeletonFormatError("no body in any frame", file=source, expected="at least one body", fix=fix)
