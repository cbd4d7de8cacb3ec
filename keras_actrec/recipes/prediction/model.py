"""An exported model, loaded once: clips in, explained answers out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from keras_actrec.errors import ConfigError
from keras_actrec.export import GlimpseCloudsDescription, RPANDescription, VPNDescription, read_description
from keras_actrec.export.loading import load_export
from keras_actrec.export.saved_model import Description
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.recipes.prediction.glimpse_clouds import predict_glimpse_clouds
from keras_actrec.recipes.prediction.rpan import check_streams, fused, predict_rpan
from keras_actrec.recipes.prediction.sta_hands import HandSensor, KnownHands, predict_sta_hands
from keras_actrec.recipes.prediction.vpn import predict_vpn
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video
from keras_actrec.video.person_boxes import WHOLE

_INSIDE = {VPNDescription: "VPN: its visual", GlimpseCloudsDescription: "Glimpse Clouds: its", RPANDescription: "RPAN: its"}
"""Of models that hold their image network."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """An exported model with what it needs to answer; made by `load_prediction_model`.

    Attributes:
        directory: the export.
        description: its `actrec.json`.
        served: the SavedModel; its signatures do not keep it alive.
        sensor: image network of the hands, where the model has hands as inputs.
        pose: Glimpse Clouds: the poses that it regresses are drawn too.
        flow: RPAN: the model of optical flow beside that of RGB.
    """

    directory: Path
    description: Description
    served: object = field(repr=False)
    sensor: HandSensor | None = field(default=None, repr=False)
    pose: bool = False
    flow: LoadedModel | None = None

    @property
    def classify(self):
        """The signature `classify_clip`."""
        return self.served.signatures["classify_clip"]

    @property
    def needs_skeleton(self) -> bool:
        """Whether the model looks at poses, or at crops that skeletons say where to cut."""
        if isinstance(self.description, RPANDescription):
            return False
        return not isinstance(self.description, GlimpseCloudsDescription) or self.description.crop["box"] != WHOLE

    @property
    def needs_video(self) -> bool:
        """Whether the model looks at pictures: all do but a pose stream alone."""
        return not _inputs(self.served) <= {"joints"}

    @property
    def needs_pixels(self) -> bool:
        """Whether the joints' places in the picture count."""
        return self.needs_skeleton and self.needs_video

    def predict(self, video: Video, sequence: SkeletonSequence | None, *, known: KnownHands | None = None) -> Prediction:
        """The answer for one clip.

        Args:
            video: the RGB video.
            sequence: the skeleton as the model takes it (`prediction/skeletons.py`); of a model that needs none only the length
                counts: the clip ends where the skeleton does. None: the clip is the video.
            known: of clips that overlap: hand features of frames that were seen before; gets those of this clip too.

        Raises:
            VideoError: the video does not read, or ends before the skeleton.
            ConfigError: the model needs joints in pixels, and the skeleton has none.
        """
        if isinstance(self.description, RPANDescription):
            answer = predict_rpan(self.description, self.classify, video, sequence)
            return answer if self.flow is None else fused(answer, self.flow.predict(video, sequence))
        if isinstance(self.description, GlimpseCloudsDescription):
            return predict_glimpse_clouds(self.description, self.classify, video, sequence, pose=self.pose)
        if isinstance(self.description, VPNDescription):
            return predict_vpn(self.description, self.classify, video, sequence)
        hands = None if self.sensor is None else self.sensor.features(video, sequence, known)
        return predict_sta_hands(self.description, self.classify, video, sequence, hands)


def load_prediction_model(
    directory: str | Path,
    *,
    sensor_weights: str | None = None,
    pose: bool = False,
    flow_model: str | Path | None = None,
) -> LoadedModel:
    """Loads an export; `actrec.json` says which model it is.

    Args:
        directory: written by `export_saved_model`, `export_vpn`, `export_glimpse_clouds` or `export_rpan`.
        sensor_weights: two-stream network only: weights of the image network, where those named in the export are a file that
            has moved.
        pose: Glimpse Clouds only: explanations also show the poses that it regresses.
        flow_model: where `directory` is RPAN of RGB: an RPAN of optical flow, whose probabilities count twice as much.

    Raises:
        WeightsError: a directory is no export, or the sensor's weights cannot be had or are other ones.
        ConfigError: sensor weights for a model without sensor, `pose` for one that regresses none, or two models that are not
            RPAN's two streams.
    """
    directory, description = Path(directory), read_description(directory)
    _check_options(description, directory, sensor_weights=sensor_weights, pose=pose)
    flow = None
    if flow_model is not None:
        flow_description = _flow_description(description, directory, flow_model)
        flow = LoadedModel(Path(flow_model), flow_description, load_export(flow_model))
    served = load_export(directory)
    sensor = HandSensor(description, sensor_weights) if "hands" in _inputs(served) else None
    return LoadedModel(directory, description, served, sensor, pose, flow)


def _inputs(served: object) -> set[str]:
    return set(served.signatures["classify_clip"].structured_input_signature[1])


def _flow_description(description: Description, model: Path, flow_model: str | Path) -> RPANDescription:
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


def _check_options(description: Description, model: Path, *, sensor_weights: str | None, pose: bool) -> None:
    """Raises ConfigError where the model was given what it has no use for."""
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
