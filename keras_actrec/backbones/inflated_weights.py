"""Where the weights of an inflated ResNet come from: ImageNet weights of keras.applications, inflated, and files of its own.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, section 2.2 (inflation by the mean); the published
code of Glimpse Clouds has it by the mean and by the centre, and uses the latter.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_actrec.backbones.dtypes import weighted_layers
from keras_actrec.backbones.sensors import load_sensor_weights
from keras_actrec.errors import ConfigError, WeightsError

INFLATIONS = ("center", "mean")
_LEAST_SIZE = 32
_WAYS_OUT = (
    "either let Keras download the weights once on a machine with network and give that file "
    "(~/.keras/models/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5), or give a file of this network that save_weights "
    "wrote, or take random weights for trials"
)


def inflate_imagenet_weights(model: keras.Model, source: keras.Model | str | Path, *, inflation: str = "center") -> None:
    """Fills a network of structure "keras" with the weights of keras.applications.ResNet50.

    A clip of one still picture has the maps of that picture then: in every frame with "center", in frames that are further from
    both ends than there are 3×3×3 convolutions with "mean".

    Args:
        model: of `inflated_resnet50`.
        source: a ResNet50 of keras.applications, with or without its classifier, or a file of its weights, see
            `sensors.load_sensor_weights`.
        inflation: of 3×3 kernels to 3×3×3: "center" keeps them in the middle frame, with zeros around; "mean" gives each of the
            three frames a third.

    Raises:
        ConfigError: an unknown inflation, or the model is of structure "torchvision".
        WeightsError: the file cannot be read, a layer is missing, or shapes do not fit.
    """
    if inflation not in INFLATIONS:
        raise ConfigError("unknown inflation", found=inflation, expected=" or ".join(INFLATIONS))
    if structure_of(model) != "keras":
        raise ConfigError(
            "weights of keras.applications are for the structure keras, which has its strides at other places",
            found=structure_of(model),
            fix="build the network with structure keras",
        )
    file = None
    if not isinstance(source, keras.Model):
        file, source = source, _image_network_of(source)
    images = {layer.name: layer.get_weights() for layer in weighted_layers(source)}
    values = {layer.name: _inflated(layer.name, images, inflation) for layer in weighted_layers(model)}
    for layer in weighted_layers(model):
        found = [array.shape for array in values[layer.name]]
        if found != [weight.shape for weight in layer.weights]:
            raise WeightsError(
                f"weights of another network than {model.name}",
                file=file,
                place=f"layer {layer.name}",
                found=found or "no such layer",
                expected=[weight.shape for weight in layer.weights],
                fix="take keras.applications.ResNet50",
            )
    for layer in weighted_layers(model):
        layer.set_weights(values[layer.name])


def _inflated(name: str, images: Mapping[str, list[np.ndarray]], inflation: str) -> list[np.ndarray]:
    """Weights of one layer; none where the image network lacks it."""
    own = images.get(name, [])
    if name.endswith("_conv") and own and own[0].ndim == 4:
        kernel = own[0][None]
        if name == "conv1_conv":
            kernel = kernel[:, :, :, ::-1]  # of BGR
        elif kernel.shape[1:3] == (3, 3):
            share = {"center": (0, 1, 0), "mean": (1 / 3, 1 / 3, 1 / 3)}[inflation]
            kernel = kernel * np.array(share, kernel.dtype)[:, None, None, None, None]
        return [kernel]
    bias = images.get(name.removesuffix("_bn") + "_conv", [])[1:]
    if name.endswith("_bn") and len(own) == 4 and bias and bias[0].shape == own[2].shape:
        return [*own[:2], own[2] - bias[0], own[3]]  # the mean that the batch norm takes off
    return own


def _image_network_of(path: str | Path) -> keras.Model:
    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(_LEAST_SIZE, _LEAST_SIZE, 3))
    try:
        load_sensor_weights(network, path)
    except WeightsError as error:  # its way out names options of other scripts
        parts = {name: getattr(error, name) for name in ("file", "place", "found", "expected")}
        raise WeightsError(error.problem, **parts, fix=_WAYS_OUT) from error
    return network


def structure_of(model: keras.Model) -> str:
    """ "keras" or "torchvision".

    Raises:
        ConfigError: the model is none of `inflated_resnet50`.
    """
    found = [layer.structure for layer in model.layers if hasattr(layer, "structure")]
    if not found:
        raise ConfigError("this is no inflated ResNet", found=f"model {model.name}", expected="a model of inflated_resnet50")
    return found[0]


def imagenet_resnet50() -> keras.Model:
    """ResNet-50 of keras.applications with its ImageNet weights, which Keras downloads once.

    Raises:
        WeightsError: they cannot be had; names the ways out.
    """
    try:
        return keras.applications.ResNet50(
            weights="imagenet", include_top=False, input_shape=(_LEAST_SIZE, _LEAST_SIZE, 3)
        )  # fmt: skip
    except Exception as error:  # keras raises bare Exception where the download fails
        raise WeightsError(f"the ImageNet weights of ResNet-50 cannot be had: {_first_line(error)}", fix=_WAYS_OUT) from error


def load_inflated_weights(model: keras.Model, path: str | Path, *, inflation: str = "center") -> None:
    """Fills a network with what a file holds.

    Args:
        model: of `inflated_resnet50`.
        path: what `save_weights` of such a network of the same structure wrote, or a file for `inflate_imagenet_weights`.
        inflation: of ImageNet weights.

    Raises:
        ConfigError: see `inflate_imagenet_weights`.
        WeightsError: the file is absent or no weights file, or its weights do not fit.
    """
    if _holds_clips_kernels(path):
        _load_own(model, Path(path))
    else:
        inflate_imagenet_weights(model, path, inflation=inflation)


def _holds_clips_kernels(path: str | Path) -> bool:
    """Whether a file has kernels of three dimensions; False for what is no HDF5 file, which the loader says better."""
    kernels = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: kernels.append(item.ndim) if isinstance(item, h5py.Dataset) else None)
    except OSError:
        return False
    return 5 in kernels


def _load_own(model: keras.Model, path: Path) -> None:
    if not path.name.endswith(".weights.h5"):
        raise WeightsError("Keras 3 weights need a name that ends in .weights.h5", file=path, fix="rename the file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one line per layer; the error below says it once
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise WeightsError(f"the weights do not fit {model.name}: {_first_line(error)}", file=path, fix=_WAYS_OUT) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
