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
_POSES = "pose_"  # what the layers' names begin with
_ATTENTION = ("spatial_", "temporal_")
_SAME_POSES = ("code", "layout", "poses", "pose_backbone", "bone_weight", "other_weight")
_FIX = "give the working directory of a finished run of experiments/*_vpn.py"


def copy_vpn_weights(model: keras.Model, config: VPNConfig, run: Path) -> None:
    """Copies the weights of a finished run into every layer that both models have, but classifiers, whose classes differ.

    So a backbone that was trained alone (preset "table1_l1") starts the whole network (section 3.3), and NTU-60 starts
    Northwestern-UCLA (section 4.4). The pose backbone and the attention that it steers go together: they stay as they are where
    the poses of the run have another number or layout, or another pose backbone reads them.

    Args:
        model: a VPN, changed in place.
        config: that it was built from.
        run: working directory of the other run: metrics.json and the weights of its stage.

    Raises:
        WeightsError: the run is not finished or none of VPN, its backbone is another network or has no place in the model, or
            no layer of it fits the model.
    """
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        configuration, stage = metrics["configuration"], metrics["stages"][-1]["name"]
        theirs = VPNConfig(**configuration["model"])
        backbone = None
        if configuration["train"] == "end_to_end":
            fields = {name: metrics["weights"][name] for name in BackboneConfig.__dataclass_fields__}
            # A network to load weights into: any will do, and a function's cannot always be given random ones.
            fields["weights"] = "own" if ":" in fields["name"] else "random"
            backbone = build_backbone(BackboneConfig(**fields))
        other = vpn(theirs, backbone)
    except (OSError, ValueError, KeyError, IndexError, TypeError, ActrecError) as error:
        raise WeightsError("no finished VPN run to take weights from", file=file, found=error, fix=_FIX) from error
    _check_backbone(other, model, file)
    load_weights(other, run / stage / "model.weights.h5")
    same_poses = all(getattr(theirs, field) == getattr(config, field) for field in _SAME_POSES)
    copied = _copy(other, model, poses=same_poses)
    if not copied:
        raise WeightsError("no layer of the run fits the model", file=file, found=", ".join(_weighted(other)), fix=_FIX)
    left = [name for name in _weighted(model) if name not in copied]
    log.info("from %s: %s; new: %s", run, ", ".join(copied), ", ".join(left) or "nothing")


def _weighted(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _check_backbone(source: keras.Model, target: keras.Model, file: Path) -> None:
    """A trained backbone goes as a whole, and what was trained with it is of no use without it."""
    theirs, ours = (_weighted(model).get(BACKBONE) for model in (source, target))
    if theirs is None:
        return
    if ours is None:
        raise WeightsError(
            "the backbone of the run was trained, and maps are of another one", file=file,
            fix="train end to end, or start from a run on maps",
        )  # fmt: skip
    if _shapes(theirs) != _shapes(ours):
        raise WeightsError(
            "the backbone of the run is another network", file=file,
            found=f"{len(theirs.weights)} weights", expected=f"{len(ours.weights)} weights of the same shapes", fix=_FIX,
        )  # fmt: skip


def _copy(source: keras.Model, target: keras.Model, *, poses: bool) -> list[str]:
    """Copies layers of equal name and shapes; returns their names.

    Args:
        source, target: two VPNs.
        poses: whether the layers behind the poses mean the same in both.
    """
    theirs, copied = _weighted(source), []
    for name, layer in _weighted(target).items():
        of_poses = name.startswith((_POSES, *_ATTENTION))
        fits = name in theirs and _shapes(theirs[name]) == _shapes(layer)
        if fits and name not in _CLASSIFIERS and (poses or not of_poses):
            layer.set_weights(theirs[name].get_weights())
            copied.append(name)
    return copied
