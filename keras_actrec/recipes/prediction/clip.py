"""One clip in, an explained answer out: an exported model applied to a video and, where the model needs it, its skeleton."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.export import GlimpseCloudsDescription, RPANDescription, VPNDescription, read_description
from keras_actrec.export.saved_model import Description
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.recipes.prediction.glimpse_clouds import predict_glimpse_clouds
from keras_actrec.recipes.prediction.rpan import check_streams, fused, predict_rpan
from keras_actrec.recipes.prediction.sta_hands import predict_sta_hands
from keras_actrec.recipes.prediction.vpn import predict_vpn
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.person_boxes import WHOLE

_INSIDE = {VPNDescription: "VPN: its visual", GlimpseCloudsDescription: "Glimpse Clouds: its", RPANDescription: "RPAN: its"}
"""Of models that hold their image network."""


def predict_clip(
    model: str | Path,
    video: str | Path,
    skeleton: str | Path | None = None,
    *,
    sensor_weights: str | None = None,
    pose: bool = False,
    flow_model: str | Path | None = None,
) -> Prediction:
    """Classifies one clip with an exported model; `actrec.json` says which one it is.

    Args:
        model: directory written by `export_saved_model`, `export_vpn`, `export_glimpse_clouds` or `export_rpan`.
        video: the RGB video, or a folder with an image per frame.
        skeleton: its NTU `.skeleton` file. RPAN and Glimpse Clouds on whole frames need none; with one, the clip ends where
            the skeleton does, as in training and test.
        sensor_weights: two-stream network only: weights of the image network, where those named in the export are a file that
            has moved.
        pose: Glimpse Clouds only: its explanation also shows the poses that it regresses.
        flow_model: where `model` is RPAN of RGB: an RPAN of optical flow, whose probabilities count twice as much.

    Raises:
        WeightsError: the directory is no export, or the sensor's weights are other ones.
        ConfigError: no skeleton for a model that needs one; sensor weights for a model without sensor, or `pose` for one that
            regresses none; a model of a joint layout that NTU files do not have; two models that are not RPAN's two streams.
        SkeletonFormatError, VideoError: the clip's files do not read, or do not fit each other.
    """
    description, video = read_description(model), Path(video)
    _check_options(description, model, skeleton=skeleton, sensor_weights=sensor_weights, pose=pose)
    sequence = None if skeleton is None else _read_skeleton(description, model, Path(skeleton))
    flow_description = None if flow_model is None else _flow_description(description, model, flow_model)
    served = _load(Path(model))  # its signatures do not keep it alive
    classify = served.signatures["classify_clip"]
    if isinstance(description, RPANDescription):
        answer = predict_rpan(description, classify, video, sequence)
        if flow_description is None:
            return answer
        served = _load(Path(flow_model))
        return fused(answer, predict_rpan(flow_description, served.signatures["classify_clip"], video, sequence))
    if isinstance(description, GlimpseCloudsDescription):
        return predict_glimpse_clouds(description, classify, video, sequence, pose=pose)
    if isinstance(description, VPNDescription):
        return predict_vpn(description, classify, video, sequence)
    return predict_sta_hands(description, classify, video, sequence, sensor_weights=sensor_weights)


def _flow_description(description: Description, model: str | Path, flow_model: str | Path) -> RPANDescription:
    """Of the model of optical flow. Raises ConfigError unless the two models are RPAN's two streams."""
    flow = read_description(flow_model)
    for found, directory in ((description, model), (flow, flow_model)):
        if not isinstance(found, RPANDescription):
            raise ConfigError(
                "RPAN alone has a model of optical flow beside that of RGB", file=directory, found=found.model, expected="rpan",
                fix="leave out --flow-model, or give two exports of RPAN",
            )  # fmt: skip
    check_streams(description, flow, model, flow_model)
    return flow


def _needs_skeleton(description: Description) -> bool:
    if isinstance(description, RPANDescription):
        return False
    return not isinstance(description, GlimpseCloudsDescription) or description.crop["box"] != WHOLE


def _check_options(
    description: Description,
    model: str | Path,
    *,
    skeleton: str | Path | None,
    sensor_weights: str | None,
    pose: bool,
) -> None:
    """Raises ConfigError where the model needs what was not given, or was given what it has no use for."""
    if type(description) in _INSIDE and sensor_weights is not None:
        raise ConfigError(
            "the exported model has no image network beside it", file=model, found=f"--sensor-weights {sensor_weights}",
            expected=f"{_INSIDE[type(description)]} backbone is inside of the export", fix="leave out --sensor-weights",
        )  # fmt: skip
    if pose and not isinstance(description, GlimpseCloudsDescription):
        drawn = "are places of attention" if isinstance(description, RPANDescription) else "are the skeleton's"
        raise ConfigError(
            f"the exported model regresses no poses: those that are drawn {drawn}", file=model, found="--pose",
            expected="Glimpse Clouds", fix="leave out --pose",
        )  # fmt: skip
    if skeleton is None and _needs_skeleton(description):
        where = isinstance(description, GlimpseCloudsDescription)
        raise ConfigError(
            "the exported model sees crops of people" if where else "the exported model looks at poses", file=model,
            found="no skeleton", expected="the skeleton of the clip" + (", which says where to cut" if where else ""),
            fix="give the clip's NTU .skeleton file by --skeleton FILE",
        )  # fmt: skip


def _read_skeleton(description: Description, model: str | Path, skeleton: Path) -> SkeletonSequence:
    """The skeleton as the model takes it; as it is for a model that needs none: only its length counts."""
    raw = read_ntu_skeleton(skeleton)
    if not _needs_skeleton(description):
        return raw
    if raw.layout.joints != description.joints:
        raise ConfigError(
            "the exported model takes other joints than those of NTU skeleton files", file=model,
            found=description.layout, expected=raw.layout.name, fix="give a model that was trained on NTU RGB+D",
        )  # fmt: skip
    return clean(raw, CleaningConfig(**description.cleaning))[0]


def _load(model: Path) -> object:
    try:
        return tf.saved_model.load(str(model))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise WeightsError(
            "the exported model does not load", file=model, found=str(error).splitlines()[0],
            fix="export again, or give the directory that experiments/ntu_pose_rgb.py or another one wrote as WORKDIR/export",
        ) from error  # fmt: skip
