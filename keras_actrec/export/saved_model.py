"""What the exports of all models share: `actrec.json`, and writing a directory whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

import keras
import tensorflow as tf

from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.files import says_disk_full
from keras_actrec.skeletons.views import PLAIN
from keras_actrec.version import __version__

DESCRIPTION = "actrec.json"


@dataclass(frozen=True)
class ExportDescription:
    """What stands in `actrec.json` beside the graph of a two-stream network.

    Attributes:
        class_names: in the order of the logits.
        layout: name of the joint layout of `classify_clip`'s joints.
        joints: its joint names, in order.
        sensor: options of the network that made the hand features (name, weights, image size, dtype, seed, checksum).
        crop_size: side in pixels of the square cut around each hand.
        tensor, sampling: options of pose tensors and sub-sequences; they are baked into `classify_clip`.
        cleaning: options of the cleaning that the joints went through.
        views: test views that `classify_clip` averages over.
        source_layout: joint layout of the poses that training read, before they were retargeted to `layout`: which sensor or
            estimator the model knows. None in older exports.
    """

    model: ClassVar[str] = "sta_hands"

    class_names: tuple[str, ...]
    layout: str
    joints: tuple[str, ...]
    sensor: dict
    crop_size: int
    tensor: dict
    sampling: dict
    cleaning: dict
    views: tuple[str, ...] = (PLAIN,)
    source_layout: str | None = None


@dataclass(frozen=True)
class VPNDescription:
    """What stands in `actrec.json` beside the graph of a video-pose network.

    Attributes:
        class_names: in the order of the scores.
        layout: name of the joint layout of `classify_clip`'s joints.
        joints: its joint names, in order.
        sampling: options of `ClipSamplingConfig`; they are baked into `classify_clip`.
        crop: options of `PersonCropConfig`: how the images of `classify_clip` are cut around the person.
        cleaning: options of the cleaning that the joints went through.
        backbone: options of the visual backbone (name, weights, frames, image size, …).
        image_size: side of the images that the network sees, in pixels; others are resized to it.
        map_size: height and width of the backbone's map; where it is larger than the attention map, the network looks through
            a window that slides over it.
        source_layout: as of `ExportDescription`.
    """

    model: ClassVar[str] = "vpn"

    class_names: tuple[str, ...]
    layout: str
    joints: tuple[str, ...]
    sampling: dict
    crop: dict
    cleaning: dict
    backbone: dict
    image_size: int
    map_size: tuple[int, int]
    source_layout: str | None = None


@dataclass(frozen=True)
class GlimpseCloudsDescription:
    """What stands in `actrec.json` beside the graph of Glimpse Clouds.

    Attributes:
        class_names: in the order of the logits.
        layout: name of the joint layout of the poses that the network regresses.
        joints: its joint names, in order.
        sampling: options of `RGBClipConfig`; they are baked into `classify_clip`.
        picture_size: side in pixels that every frame is resized to before it is cropped.
        crop: options of `PersonCropConfig`: how the frames of `classify_clip` are cut out of the video. With box "whole" they
            are the video's; otherwise a skeleton has to say where the people are.
        backbone: options of the image network (weights, …).
        cleaning: options of the cleaning that such a skeleton goes through; None with box "whole".
    """

    model: ClassVar[str] = "glimpse_clouds"

    class_names: tuple[str, ...]
    layout: str
    joints: tuple[str, ...]
    sampling: dict
    picture_size: int
    crop: dict
    backbone: dict
    cleaning: dict | None = None


@dataclass(frozen=True)
class RPANDescription:
    """What stands in `actrec.json` beside the graph of RPAN.

    Attributes:
        class_names: in the order of the logits.
        layout: name of the joint layout of the attention maps.
        joints: its joint names, in order.
        sampling: options of `FrameClipConfig`; they are baked into `classify_clip`.
        stream: "rgb" or "flow".
        attention: what the maps are of: "human_part", "separate_joint" (one for each joint), "share_all" (a single one) or
            "none".
        guided: whether joints taught the maps, so that the places of highest attention are the joints.
        backbone: options of the image network (name, weights, …).
        flow: of stream "flow", options of `FlowConfig`: how the frames of flow of `classify_clip` are computed; else None.
    """

    model: ClassVar[str] = "rpan"

    class_names: tuple[str, ...]
    layout: str
    joints: tuple[str, ...]
    sampling: dict
    stream: str
    attention: str
    guided: bool
    backbone: dict
    flow: dict | None = None


Description = ExportDescription | VPNDescription | GlimpseCloudsDescription | RPANDescription
_KINDS = {kind.model: kind for kind in (ExportDescription, VPNDescription, GlimpseCloudsDescription, RPANDescription)}


def inference(model: keras.Model) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """The model's forward pass at inference, every output in float32."""

    def call(inputs):
        outputs = model(inputs, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    return call


def check_class_names(directory: Path, class_names: Sequence[str], logits: int) -> None:
    """Raises ConfigError unless there is one class name per logit."""
    if len(class_names) != logits:
        raise ConfigError(
            "one class name per logit is needed", file=directory, found=len(class_names), expected=logits,
            fix="give the class names of the data set that the model was trained on",
        )  # fmt: skip


def write_saved_model(
    served: tf.Module, directory: str | Path, *, signatures: Mapping[str, Callable], description: Description
) -> Path:
    """Writes a SavedModel with its `actrec.json`; the directory appears under its name only when it is whole.

    Args:
        served: owner of the signatures' functions and of the model's variables, and of nothing else.
        directory: target; an older export there is replaced.
        signatures: signature name → `tf.function` with an input signature.
        description: content of `actrec.json`.

    Raises:
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    directory = Path(directory)
    part, before = (directory.with_name(directory.name + ending) for ending in (".part", ".before.part"))
    for left in (part, before):
        shutil.rmtree(left, ignore_errors=True)
    try:
        tf.saved_model.save(served, str(part), signatures=dict(signatures))
        text = json.dumps({"keras_actrec": __version__, "model": description.model, **asdict(description)}, indent=2)
        (part / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if says_disk_full(error):
            fix = "free some space and run the same command with --resume: the trained weights are kept"
            raise DiskFullError("no space left to write the exported model", file=directory, fix=fix) from error
        raise
    with suppress(FileNotFoundError):
        os.replace(directory, before)  # not deleted under its name: a run that is killed then would leave half of it
    os.replace(part, directory)
    shutil.rmtree(before, ignore_errors=True)
    return directory


def read_description(directory: str | Path) -> Description:
    """Reads `actrec.json` of an export; its "model" says which kind of description it is.

    Raises:
        WeightsError: the directory is no export of this package, or its description is damaged.
    """
    path = Path(directory) / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = _KINDS.get(content["model"])
        if kind is None:
            raise WeightsError(
                "this version does not know the model of the export", file=path, found=content["model"],
                expected=f"one of {', '.join(_KINDS)}", fix="use the version that wrote it, see keras_actrec in that file",
            )  # fmt: skip
        names = [field.name for field in fields(kind) if field.name in content]  # older exports lack the newest
        return kind(**{name: _tuple_of_list(content[name]) for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "no description of an exported model", file=path, found=f"{type(error).__name__}: {error}",
            fix="give the directory that an experiment (experiments/ntu_pose_rgb.py, …) wrote as WORKDIR/export",
        ) from error  # fmt: skip


def _tuple_of_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
