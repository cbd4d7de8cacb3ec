"""Weights of the published Glimpse Clouds code → a `glimpse_clouds_official` model: a state_dict saved as .npz or .safetensors.

Code: github.com/fabienbaradel/glimpse_clouds (PyTorch). Its own checkpoints are pickles, programs that run when they are read;
whoever trusts one saves its state_dict anew, where PyTorch is installed:

    state = torch.load("model_best.pth.tar", map_location="cpu")["state_dict"]
    numpy.savez("official.npz", **{name: value.numpy() for name, value in state.items()})

Every name and every shape is checked, in both directions, before anything is assigned.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.inflated_resnet import assign_torch_backbone
from keras_actrec.convert.safetensors_files import read_safetensors
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.layers.soft_assignment import MahalanobisDistance
from keras_actrec.models.glimpse_clouds import BACKBONE, RECURRENCE

_FIX = "give the state_dict of the published network, all of it, saved by numpy.savez or as .safetensors"
_BUILD = 'build it by glimpse_clouds(preset("glimpse_clouds_official", classes), inflated_resnet50(structure="torchvision"))'
_CNN = "cnn."
_COUNTER = ".num_batches_tracked"  # since PyTorch 0.4.1; of no use here
_GLOBAL_CLASSIFIER = "fc_global_model"
# Parts that the state_dict of either model has, though its forward pass leaves them out.
_BESIDE_CLOUDS = (f"{_GLOBAL_CLASSIFIER}.",)
_BESIDE_GLOBAL = (
    "rnn_zoomer.",
    "mlp_glimpse_location.",
    "mlp_embedding_location.",
    "list_worker.",
    "list_fc.",
    "list_first_attention.",
)


@dataclass(frozen=True)
class _Part:
    """A layer here, the names of its tensors there, and how these become its weights."""

    layer: keras.layers.Layer
    kind: str
    names: tuple[str, ...]

    def shapes(self) -> list[tuple[int, ...]]:
        """Of the tensors, as PyTorch has them."""
        shapes = [tuple(weight.shape) for weight in self.weights()]
        if self.kind == "rows":  # one tensor for each row of one weight
            return [shapes[0][1:]] * shapes[0][0]
        if self.kind == "gru":
            kernel, recurrent, bias = shapes
            return [kernel[::-1], recurrent[::-1], bias[1:], bias[1:]]
        return [shapes[0][::-1], shapes[1]]

    def weights(self) -> list[keras.Variable]:
        return [self.layer.first] if self.kind == "rows" else self.layer.weights

    def assign(self, tensors: list[np.ndarray]) -> None:
        if self.kind == "rows":
            values = [np.stack(tensors)]
        elif self.kind == "gru":
            kernel, recurrent, *biases = [_keras_gates(tensor) for tensor in tensors]
            values = [kernel.T, recurrent.T, np.stack(biases)]
        else:
            values = [tensors[0].T, tensors[1]]
        for weight, value in zip(self.weights(), values, strict=True):
            weight.assign(value)


def load_official_glimpse_clouds(model: keras.Model, path: str | Path, *, distance_matrix: np.ndarray | None = None) -> None:
    """Loads a state_dict of the published code into a model.

    Args:
        model: `glimpse_clouds(preset("glimpse_clouds_official", classes), inflated_resnet50(structure="torchvision"))` with the
            number of classes of the file; or the code's global model, of the same preset with model="global" and
            glimpse_loss=False. What the file has for the other of the two is passed over.
        path: the file, .npz or .safetensors, told apart by content. "module." in front of names is taken off, counters of
            batches are passed over.
        distance_matrix: D (size, size), which the published code makes anew from its first batch and saves nowhere; None leaves
            that of the model.

    Raises:
        WeightsError: the file is absent, damaged, of another form or of another network; a tensor is missing, unexpected, of
            another shape, or not finite.
        ConfigError: the model is none of the published code's, or the matrix does not fit, or is none of a distance, see
            `MahalanobisDistance.set_matrix`.
    """
    path = Path(path)
    parts = _parts(model)
    backbone = _layer(model, BACKBONE)
    metric = _layer(model, RECURRENCE).metric if _has_clouds(model) else None
    factor = None if distance_matrix is None else _factor(metric, distance_matrix)
    tensors = _tensors(path, _BESIDE_CLOUDS if _has_clouds(model) else _BESIDE_GLOBAL)
    cnn = {name: value for name, value in tensors.items() if name.startswith(_CNN)}
    own = {name: value for name, value in tensors.items() if not name.startswith(_CNN)}
    _check(parts, own, path)
    try:
        assign_torch_backbone(backbone, cnn)  # checks all of its own before it assigns
    except WeightsError as error:
        known = {"place": error.place, "found": error.found, "expected": error.expected, "fix": error.fix or _FIX}
        raise WeightsError(error.problem, file=path, **known) from error
    for part in parts:
        part.assign([own[name] for name in part.names])
    if factor is not None:
        metric.factor.assign(factor)


def _has_clouds(model: keras.Model) -> bool:
    return RECURRENCE in {layer.name for layer in model.layers}


def _parts(model: keras.Model) -> list[_Part]:
    """All layers with weights but the backbone's and D."""
    pose = _Part(_layer(model, "pose_regression"), "dense", _dense("fc_pose"))
    if not _has_clouds(model):
        return [pose, _Part(_layer(model, "global_classifier"), "dense", _dense(_GLOBAL_CLASSIFIER))]
    recurrence = _layer(model, RECURRENCE)
    if not recurrence.official:
        raise ConfigError(
            f"model {model.name} is none of the published code", found="the recurrence of the paper",
            expected="code 'official'", fix=_BUILD,
        )  # fmt: skip
    workers = range(recurrence.workers)
    return [
        pose,
        _Part(recurrence.cell, "gru", _gru("rnn_zoomer")),
        _Part(recurrence.locate, "dense", _dense("mlp_glimpse_location")),
        _Part(recurrence.where_hidden, "dense", _dense("mlp_embedding_location.0")),
        _Part(recurrence.where, "dense", _dense("mlp_embedding_location.2")),
        *(_Part(recurrence.cells[c], "gru", _gru(f"list_worker.{c}")) for c in workers),
        *(_Part(_layer(model, f"worker{c + 1}_classifier"), "dense", _dense(f"list_fc.{c}")) for c in workers),
        _Part(recurrence, "rows", tuple(f"list_first_attention.{c}" for c in workers)),
    ]


def _dense(name: str) -> tuple[str, ...]:
    return f"{name}.weight", f"{name}.bias"


def _gru(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def _keras_gates(tensor: np.ndarray) -> np.ndarray:
    """PyTorch's gates reset, update, new, one below the other → Keras's update, reset, new."""
    reset, update, new = np.split(tensor, 3)
    return np.concatenate([update, reset, new])


def _layer(model: keras.Model, name: str) -> keras.layers.Layer:
    try:
        return model.get_layer(name)
    except ValueError:
        raise ConfigError(f"model {model.name} is none of the published code", found=f"no layer {name}", fix=_BUILD) from None


def _factor(metric: MahalanobisDistance | None, matrix: np.ndarray) -> np.ndarray:
    """L of D, checked without any change to the model."""
    if metric is None:
        raise ConfigError("the model has no distance matrix", found="distance_matrix", fix="leave it out")
    spare = MahalanobisDistance(name="spare")
    shape = (None, None, metric.factor.shape[0])
    spare.build(shape, shape)
    spare.set_matrix(matrix)
    return keras.ops.convert_to_numpy(spare.factor)


def _check(parts: list[_Part], found: Mapping[str, np.ndarray], path: Path) -> None:
    """Every name and every shape, both ways."""
    expected = {name: shape for part in parts for name, shape in zip(part.names, part.shapes(), strict=True)}
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        raise WeightsError(
            f"the file is of another network: {len(missing)} tensors missing, {len(unexpected)} unexpected",
            file=path,
            found="unexpected " + ", ".join(unexpected[:3]) if unexpected else f"{len(found)} tensors beside the cnn",
            expected="also " + ", ".join(missing[:3]) if missing else f"{len(expected)} tensors beside the cnn",
            fix=_FIX,
        )
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise WeightsError(
                "a tensor of another shape", file=path, place=f"tensor {name}", found=found[name].shape, expected=shape,
                fix="build the model with the file's number of classes",
            )  # fmt: skip


# Files.


def _tensors(path: Path, beside: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Name without "module." → values, what is not used left out."""
    stored = _read(path)
    tensors: dict[str, np.ndarray] = {}
    for name, value in stored.items():
        short = name.removeprefix("module.")
        if short in tensors:
            raise WeightsError("a tensor is there with and without module.", file=path, place=f"tensor {short}", fix=_FIX)
        if short.endswith(_COUNTER) or short.startswith(beside):
            continue
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise WeightsError(
                "values that are no finite numbers", file=path, place=f"tensor {short}", found=value.dtype, fix=_FIX
            )
        tensors[short] = value
    return tensors


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path, fix=_FIX)
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK\x03\x04"):
        return _read_npz(path)
    if start.startswith(b"\x80") and not start.endswith(b"{"):  # the length of a .safetensors header may begin like that too
        raise WeightsError("the file is a pickle, which is not read", file=path, fix=_FIX)
    return read_safetensors(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, ValueError, MemoryError) as error:
        raise WeightsError(f"the archive cannot be read: {error}", file=path, fix=_FIX) from error
    strange = [name for name, value in values.items() if not isinstance(value, np.ndarray)]
    if strange:  # such as archive/data.pkl of torch.save
        raise WeightsError("the archive is none of numpy.savez", file=path, found=f"entry {strange[0]}", fix=_FIX)
    return values
