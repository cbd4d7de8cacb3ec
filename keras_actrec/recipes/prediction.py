"""One clip in, an explained answer out: an exported model applied to a video and its skeleton file."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.export import VPNDescription, read_description
from keras_actrec.recipes.explanation import Prediction
from keras_actrec.recipes.predict_sta_hands import predict_sta_hands
from keras_actrec.recipes.predict_vpn import predict_vpn
from keras_actrec.skeletons.cleaning import CleaningConfig, clean


def predict_clip(
    model: str | Path, video: str | Path, skeleton: str | Path, *, sensor_weights: str | None = None
) -> Prediction:
    """Classifies one clip with an exported model; `actrec.json` says which one it is.

    Args:
        model: directory written by `export_saved_model` or `export_vpn`.
        video: the RGB video, or a folder with an image per frame.
        skeleton: its NTU `.skeleton` file.
        sensor_weights: two-stream network only: weights of the image network, where those named in the export are a file that
            has moved.

    Raises:
        WeightsError: the directory is no export, or the sensor's weights are other ones.
        ConfigError: sensor weights for a model without sensor; a model of a joint layout that NTU files do not have.
        SkeletonFormatError, VideoError: the clip's files do not read, or do not fit each other.
    """
    description, video = read_description(model), Path(video)
    if isinstance(description, VPNDescription) and sensor_weights is not None:
        raise ConfigError(
            "the exported model has no image network beside it", file=model, found=f"--sensor-weights {sensor_weights}",
            expected="VPN: its visual backbone is inside of the export", fix="leave out --sensor-weights",
        )  # fmt: skip
    raw = read_ntu_skeleton(Path(skeleton))
    if raw.layout.joints != description.joints:
        raise ConfigError(
            "the exported model takes other joints than those of NTU skeleton files", file=model,
            found=description.layout, expected=raw.layout.name, fix="give a model that was trained on NTU RGB+D",
        )  # fmt: skip
    sequence, _ = clean(raw, CleaningConfig(**description.cleaning))
    served = _load(Path(model))  # its signatures do not keep it alive
    classify = served.signatures["classify_clip"]
    if isinstance(description, VPNDescription):
        return predict_vpn(description, classify, video, sequence)
    return predict_sta_hands(description, classify, video, sequence, sensor_weights=sensor_weights)


def _load(model: Path) -> object:
    try:
        return tf.saved_model.load(str(model))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise WeightsError(
            "the exported model does not load", file=model, found=str(error).splitlines()[0],
            fix="export again, or give the directory that experiments/ntu_pose_rgb.py or another one wrote as WORKDIR/export",
        ) from error  # fmt: skip
