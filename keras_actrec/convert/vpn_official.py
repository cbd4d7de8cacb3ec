"""Weights that the published VPN code saved (Keras 2.1, HDF5) → a `vpn_official` model with an I3D backbone.

Code: github.com/srijandas07/VPN. Its `save` and `save_weights` both write a group per layer; Keras numbered the layers without
a name of their own within a process, so that the same network may hold "conv2d_1" or "conv2d_7": they are taken in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_actrec.backbones.i3d import i3d_units
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.models.vpn import BACKBONE

_FIX = "give a file that the published code wrote by model.save or model.save_weights, of VPN with an I3D backbone"
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_DENSE = ("kernel", "bias")
# Layers that the published code names itself → layers here.
_NAMED = {
    "z1_layer": "spatial_hidden",
    "dense_spatial": "spatial_latent",
    "z2_layer": "temporal_hidden",
    "dense_temporal": "temporal_latent",
    "dense_video": "embedding_visual",
    "dense_skeleton": "embedding_pose",
    "Conv3d_6a_1x1second_conv": "features",
    "action_output": "classifier",
}
# Classes of layers that Keras numbered → layers here, in order. "dense_1" is a classifier of I3D that VPN does not use: it is
# not part of the saved network.
_NUMBERED = {
    "batch_normalization": ("pose_norm1", "pose_norm2", "pose_norm3", "pose_norm4"),
    "conv2d": ("pose_conv1", "pose_conv2", "pose_conv3"),
    "dense": ("pose_dense1", "pose_dense2"),
}
_GRAPH = "multi_graph_cnn"

Saved = Mapping[str, Mapping[str, np.ndarray]]


def load_official_vpn(model: keras.Model, path: str | Path) -> None:
    """Loads a weights file of the published code into a model; nothing is assigned before every shape is known to fit.

    Args:
        model: `vpn(preset("vpn_official", classes), i3d(frames=16))`, with the number of classes of the file.
        path: the HDF5 file. Weights of its layers that VPN does not use are passed over.

    Raises:
        WeightsError: the file is absent, damaged, or of another network; a layer is missing or has other shapes.
        ConfigError: the model is no `vpn_official` with an I3D backbone.
    """
    path = Path(path)
    saved = _read(path)
    pairs = _pairs(model, saved, path)
    for layer, name, arrays in pairs:
        found, expected = [array.shape for array in arrays], [tuple(weight.shape) for weight in layer.weights]
        if found != expected:
            raise WeightsError(
                f"the weights do not fit layer {layer.name}", file=path, place=f"layer {name}", found=found, expected=expected,
                fix="build the model with the file's number of classes and poses",
            )  # fmt: skip
    for layer, _, arrays in pairs:
        layer.set_weights(arrays)


def _read(path: Path) -> Saved:
    """Layer → weight ("kernel", "bias", "gamma", …) → array. A model inside of a model is one group: names tell its layers."""
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path, fix=_FIX)
    saved: dict[str, dict[str, np.ndarray]] = {}
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                raise WeightsError("the file was not written by Keras 2", file=path, found=f"groups {list(root)[:5]}", fix=_FIX)
            for group in (root[_text(name)] for name in root.attrs["layer_names"]):
                for name in (_text(name) for name in group.attrs["weight_names"]):
                    layer, weight = name.split(":")[0].rsplit("/", 2)[-2:]
                    saved.setdefault(layer, {})[weight] = group[name][()]
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # h5py has all of them for damaged files
        raise WeightsError(f"the file is damaged or no HDF5 file: {error}", file=path, fix=_FIX) from error
    return saved


def _pairs(model: keras.Model, saved: Saved, path: Path) -> list[tuple[keras.layers.Layer, str, list[np.ndarray]]]:
    """(layer here, layer there, its arrays in the order of the layer here) of every layer with weights."""

    def arrays(name: str, weights: tuple[str, ...]) -> list[np.ndarray]:
        missing = [weight for weight in weights if weight not in saved.get(name, {})]
        if missing:
            raise WeightsError("the file lacks a weight of the network", file=path, found=f"no {name}/{missing[0]}", fix=_FIX)
        return [saved[name][weight] for weight in weights]

    pairs = []
    backbone = _layer(model, BACKBONE)
    for unit in (unit for unit in i3d_units() if unit.normalised):
        name = _i3d_name(unit.name)
        convolution, norm = (_layer(backbone, f"{unit.layer}.{part}") for part in ("conv_3d", "batch_norm"))
        pairs.append((convolution, name, arrays(f"{name}_conv", ("kernel",))))
        pairs.append((norm, name, arrays(f"{name}_bn", _NORM[1:])))
    for kind, layers in _NUMBERED.items():
        weights = _NORM if kind == "batch_normalization" else _DENSE
        names = _numbered(saved, kind, len(layers), path)
        pairs += [(_layer(model, ours), name, arrays(name, weights)) for ours, name in zip(layers, names, strict=True)]
    for name, ours in _NAMED.items():
        kernel, bias = arrays(name, _DENSE)
        if kernel.ndim == 5 and kernel.shape[:3] == (1, 1, 1):  # a convolution over one place is a dense layer
            kernel = kernel[0, 0, 0]
        pairs.append((_layer(model, ours), name, [kernel, bias]))
    graph = _layer(model, "pose_graph")
    names = _numbered(saved, _GRAPH, graph.weights[0].shape[0], path)
    steps = [arrays(name, _DENSE) for name in names]  # one layer per pose there, one for all poses here
    stacked = [np.stack(parts) for parts in zip(*steps, strict=True)] if len({s[0].shape for s in steps}) == 1 else steps[0]
    return [*pairs, (graph, f"{names[0]} … {names[-1]}", stacked)]


def _i3d_name(unit: str) -> str:
    """DeepMind's name of a unit → that of the Keras 2 port: "Mixed_3b/Branch_1/Conv3d_0b_3x3" → "Conv3d_3b_1b_3x3"."""
    match = re.fullmatch(r"Mixed_(\w+)/Branch_(\d)/Conv3d_0([ab])_(\dx\d)", unit)
    if match is None:
        return unit
    block, branch, place, kernel = match.groups()
    return f"Conv3d_{block}_{branch}{_port_place(branch, place, kernel)}_{kernel}"


def _port_place(branch: str, place: str, kernel: str) -> str:
    if kernel == "3x3":  # one of DeepMind's units is named 0a where its siblings are 0b; the port names them alike
        return "b"
    return {"0": "a", "3": "b"}.get(branch, place)


def _numbered(saved: Saved, kind: str, count: int, path: Path) -> list[str]:
    """The layers of a class that Keras numbered, in order."""
    numbers = sorted(int(match[1]) for name in saved if (match := re.fullmatch(rf"{kind}_(\d+)", name)))
    if len(numbers) != count:
        raise WeightsError(
            f"the file is of another network: layers {kind}_…", file=path, found=len(numbers), expected=count, fix=_FIX
        )
    return [f"{kind}_{number}" for number in numbers]


def _layer(model: keras.Model, name: str) -> keras.layers.Layer:
    try:
        return model.get_layer(name)
    except ValueError:
        raise ConfigError(
            f"model {model.name} is no vpn_official with an I3D backbone", found=f"no layer {name}",
            fix='build it by vpn(preset("vpn_official", classes), i3d(frames=16))',
        ) from None  # fmt: skip


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
