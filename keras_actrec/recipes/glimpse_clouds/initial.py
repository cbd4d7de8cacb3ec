"""Starts Glimpse Clouds from the weights of another run: its own first stage, or another data set's network."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig, inflated_resnet50
from keras_actrec.errors import ActrecError, WeightsError
from keras_actrec.models.glimpse_clouds import BACKBONE, RECURRENCE, GlimpseCloudsConfig, glimpse_clouds
from keras_actrec.training.checkpoints import load_weights

log = logging.getLogger(__name__)

POSE = "pose_regression"
# What the weights of a layer mean beyond their shapes.
_SAME = {POSE: ("layout", "people"), RECURRENCE: ("code", "attention", "encoding", "distance")}
_FIX = "give the working directory of a finished run of experiments/*_glimpse_clouds.py"


@dataclass(frozen=True, eq=False)
class InitialRun:
    """A finished run to start from.

    Attributes:
        file: its metrics.json.
        config: of its network.
        layers: name → the weights of each layer, but those of the backbone.
        backbone: what its backbone is; `weights` of it are those that its training began with.
        backbone_weights: those that it ended with, `get_weights()`; None where it trained on maps.
        checksum: of the weights that its training began with.
    """

    file: Path
    config: GlimpseCloudsConfig
    layers: dict[str, list[np.ndarray]]
    backbone: InflatedResNetConfig
    backbone_weights: tuple[np.ndarray, ...] | None
    checksum: str

    @property
    def digest(self) -> str:
        """Checksum of what `copy` copies: the layers by themselves."""
        digest = hashlib.sha256()
        for name, arrays in self.layers.items():
            for array in arrays:
                digest.update(f"{name}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()

    def weights_for(self, config: InflatedResNetConfig) -> tuple[np.ndarray, ...] | None:
        """Weights of the run's trained backbone for one of `config`; None where the run has none.

        Raises:
            WeightsError: the run's backbone is of the other structure, in which the same weights mean another network.
        """
        if self.backbone_weights is not None and self.backbone.structure != config.structure:
            raise WeightsError(
                "the backbone of the run is of another structure", file=self.file, found=self.backbone.structure,
                expected=config.structure, fix="take the structure of the run, or start from another run",
            )  # fmt: skip
        return self.backbone_weights

    def copy(self, model: keras.Model, config: GlimpseCloudsConfig, checksum: str) -> tuple[str, ...]:
        """Copies the weights into the layers that mean the same in both models; classifiers, whose classes differ, are new.

        Args:
            model: Glimpse Clouds, changed in place; its backbone has its weights already.
            config: that it was built from.
            checksum: of the backbone's weights before the training.

        Returns:
            Names of the layers.

        Raises:
            WeightsError: the run was trained on maps of another backbone, or no layer fits.
        """
        if self.backbone_weights is None and checksum != self.checksum:
            raise WeightsError(
                "the run was trained on the maps of another backbone", file=self.file, found=self.checksum[:12],
                expected=checksum[:12], fix="take the backbone's weights of the run, or start from another run",
            )  # fmt: skip
        copied = []
        for name, fields in _SAME.items():
            layer = next((layer for layer in model.layers if layer.name == name), None)
            theirs = self.layers.get(name)
            if layer is None or theirs is None or any(getattr(self.config, f) != getattr(config, f) for f in fields):
                continue
            if [array.shape for array in theirs] == [tuple(weight.shape) for weight in layer.weights]:
                layer.set_weights(theirs)
                copied.append(name)
        if not copied and self.backbone_weights is None:
            raise WeightsError("no layer of the run fits the model", file=self.file, found=", ".join(self.layers), fix=_FIX)
        new = [layer.name for layer in model.layers if layer.weights and layer.name not in (*copied, BACKBONE)]
        taken = ([] if self.backbone_weights is None else [BACKBONE]) + copied
        log.info("from %s: %s; new: %s", self.file.parent, ", ".join(taken), ", ".join(new) or "nothing")
        return tuple(copied)


def open_initial_run(run: Path) -> InitialRun:
    """Reads the weights of a finished run.

    Args:
        run: its working directory: metrics.json and the weights of its last stage.

    Raises:
        WeightsError: the run is not finished or none of Glimpse Clouds, or its weights do not read.
    """
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        configuration, stage = metrics["configuration"], metrics["stages"][-1]["name"]
        config = GlimpseCloudsConfig(**configuration["model"])
        backbone = InflatedResNetConfig(
            **{name: metrics["weights"][name] for name in InflatedResNetConfig.__dataclass_fields__}
        )
        checksum = str(metrics["weights"]["weights_checksum"])
        network = None
        if configuration["train"] == "end_to_end":
            network = inflated_resnet50(
                frames=backbone.frames, image_size=backbone.image_size, structure=backbone.structure
            )  # fmt: skip
        model = glimpse_clouds(config, network)
    except (OSError, ValueError, KeyError, IndexError, TypeError, ActrecError) as error:
        raise WeightsError(
            "no finished run of Glimpse Clouds to take weights from", file=file, found=error, fix=_FIX
        ) from error
    load_weights(model, run / stage / "model.weights.h5")
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights and layer.name != BACKBONE}
    trained = None if network is None else tuple(network.get_weights())
    return InitialRun(file, config, layers, backbone, trained, checksum)
