"""Starts a VPN from the weights of another run: a backbone trained for classification, or another data set's network."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import keras

from keras_actrec.backbones.visual import BackboneConfig, build_backbone
from keras_actrec.errors import ActrecError, WeightsError
from keras_actrec.models.vpn import BACKBONE, VPNConfig, vpn
from keras_actrec.training.checkpoints import load_weights

log = logging.getLogger(__name__)

_CLASSIFIERS = ("classifier", "features")
_FIX = "give the working directory of a finished run of experiments/*_vpn.py"


def copy_vpn_weights(model: keras.Model, run: Path) -> None:
    """Copies the weights of a finished run into every layer that both models have, but classifiers, whose classes differ.

    So a backbone that was trained alone (preset "table1_l1") starts the whole network (section 3.3), and NTU-60 starts
    Northwestern-UCLA (section 4.4), where poses of another number or layout leave the pose backbone as it is.

    Args:
        model: a VPN, changed in place.
        run: working directory of the other run: metrics.json and the weights of its stage.

    Raises:
        WeightsError: the run is not finished or none of VPN, or no layer of it fits the model.
    """
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        configuration, stage = metrics["configuration"], metrics["stages"][-1]["name"]
        config = VPNConfig(**configuration["model"])
        backbone = None
        if configuration["train"] == "end_to_end":
            fields = {name: metrics["weights"][name] for name in BackboneConfig.__dataclass_fields__}
            backbone = build_backbone(BackboneConfig(**{**fields, "weights": "random"}))
    except (OSError, ValueError, KeyError, IndexError, TypeError, ActrecError) as error:
        raise WeightsError("no finished VPN run to take weights from", file=file, found=error, fix=_FIX) from error
    other = vpn(config, backbone)
    load_weights(other, run / stage / "model.weights.h5")
    copied = _copy(other, model)
    if not copied:
        raise WeightsError("no layer of the run fits the model", file=file, found=", ".join(_weighted(other)), fix=_FIX)
    left = [name for name in _weighted(model) if name not in copied]
    log.info("from %s: %s; new: %s", run, ", ".join(copied), ", ".join(left) or "nothing")


def _weighted(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def _copy(source: keras.Model, target: keras.Model) -> list[str]:
    """Copies layers of equal name and shapes; returns their names. A backbone goes as a whole."""
    theirs, copied = _weighted(source), []
    for name, layer in _weighted(target).items():
        if name in _CLASSIFIERS or name not in theirs:
            continue
        arrays = theirs[name].get_weights()
        if [array.shape for array in arrays] == [tuple(weight.shape) for weight in layer.weights]:
            layer.set_weights(arrays)
            copied.append(name)
        elif name == BACKBONE:
            raise WeightsError("the backbone of the run is another network", found=theirs[name].name, fix=_FIX)
    return copied
