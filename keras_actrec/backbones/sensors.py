"""Glimpse sensors: image networks that turn a crop into 2048 values, with their preprocessing inside.

Sources: Inception V3 (Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016) and ResNet-50 (He et
al., "Deep Residual Learning for Image Recognition", 2016), both from keras.applications, cut before the classifier.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops

from keras_actrec.backbones.dtypes import POLICIES, weighted_layers, with_dtype
from keras_actrec.backbones.random_weights import calibration_images, randomise
from keras_actrec.errors import ConfigError, WeightsError

FEATURE_SIZE = 2048
_WAYS_OUT = (
    "either let Keras download them once on a machine with network and copy the file from ~/.keras/models, "
    "or give a local file with --sensor-weights FILE, or take --sensor-weights random for trials"
)


@dataclass(frozen=True)
class SensorConfig:
    """An image network.

    Attributes:
        name: "inception_v3" (the paper's) or "resnet50".
        weights: "imagenet" (keras.applications downloads them), "random" (seeded, for trials and tests) or the path of an
            .h5 file: weights as keras.applications distributes them, with or without the classifier, or what
            `save_weights` of such a model or of `build_sensor` wrote.
        image_size: side of the input in pixels; at least 75 for Inception V3, 32 for ResNet-50.
        dtype: "float32" or "bfloat16": type of the computation; the weights stay float32, and so do the first layers, which
            see the image at its full size and are where bfloat16 loses most.
        seed: of "random" weights.

    Raises:
        ConfigError: an unknown name or dtype, or an image too small for the network.
    """

    name: str = "inception_v3"
    weights: str = "imagenet"
    image_size: int = 299
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        if self.name not in _NETWORKS:
            raise ConfigError("unknown sensor", found=self.name, expected=f"one of {', '.join(_NETWORKS)}")
        if self.dtype not in POLICIES:
            raise ConfigError("unknown dtype of the sensor", found=self.dtype, expected=f"one of {', '.join(POLICIES)}")
        least = _NETWORKS[self.name].least_size
        if self.image_size < least:
            raise ConfigError(f"images are too small for {self.name}", found=self.image_size, expected=f"at least {least}")
        if self.seed < 0:
            raise ConfigError("a seed must not be negative", found=self.seed)

    @property
    def computation(self) -> dict[str, object]:
        """What decides the features beside the weights, for the options of a cache."""
        options: dict[str, object] = {"name": self.name, "image_size": self.image_size, "dtype": self.dtype}
        if self.dtype != "float32":
            options["float32_convolutions"] = _NETWORKS[self.name].exact
        return options


@dataclass(frozen=True)
class _Network:
    build: Callable[..., keras.Model]
    preprocessing: str
    least_size: int
    exact: int
    """Convolutions at the beginning that compute in float32 always: ImageNet's ResNet-50 loses 40 times as much without."""


_NETWORKS = {
    "inception_v3": _Network(keras.applications.InceptionV3, "scaled", 75, 5),
    "resnet50": _Network(keras.applications.ResNet50, "caffe", 32, 5),
}
SENSORS = tuple(_NETWORKS)


@keras.saving.register_keras_serializable(package="keras_actrec")
class ImagePreprocessing(keras.layers.Layer):
    """RGB values 0..255 → what keras.applications' networks were trained on: `keras.applications.*.preprocess_input`.

    Args:
        mode: "scaled": x / 127.5 - 1, in [-1, 1]; "caffe": BGR minus the mean of ImageNet (103.939, 116.779, 123.68).

    Input (B, H, W, 3) of any type, output (B, H, W, 3) float32.
    """

    keeps_dtype = True

    def __init__(self, mode: str, *, name: str | None = None, dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype, trainable=False)
        if mode not in ("scaled", "caffe"):
            raise ConfigError("unknown preprocessing", found=mode, expected="scaled or caffe")
        self.mode = mode

    def call(self, images):
        images = ops.cast(images, "float32")
        if self.mode == "scaled":
            return images / 127.5 - 1.0
        return ops.flip(images, axis=-1) - ops.convert_to_tensor([103.939, 116.779, 123.68], "float32")

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, "float32")

    def get_config(self):
        return {"name": self.name, "dtype": "float32", "mode": self.mode}


def build_sensor(config: SensorConfig, *, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Builds a sensor with its weights, frozen.

    Args:
        config: what to build.
        weights: arrays of `get_weights()` of such a sensor to take instead of `config.weights` (worker processes).

    Returns:
        A model from RGB uint8 (B, image_size, image_size, 3) to float32 (B, 2048); preprocessing is inside.

    Raises:
        WeightsError: the weights cannot be had, or a file's weights do not fit.
    """
    model = _architecture(config)
    if weights is not None:
        model.set_weights(list(weights))
    elif config.weights == "random":
        randomise(model, config.seed, calibration_images(config.image_size, config.seed))
    elif config.weights == "imagenet":
        _load_imagenet(model, config)
    else:
        load_sensor_weights(model, config.weights)
    if config.dtype != "float32":
        model = with_dtype(model, POLICIES[config.dtype], exact=_first_layers(model, _NETWORKS[config.name].exact))
    model.trainable = False
    return model


def weights_checksum(model: keras.Model) -> str:
    """SHA-256 over names and float32 bytes of all weights, in layer order; the same in every process and dtype policy.

    Layer names that Keras numbers per process (conv2d_94) do not enter, the position and class of the layer does.
    """
    digest = hashlib.sha256()
    for position, layer in enumerate(weighted_layers(model)):
        for weight in layer.weights:
            digest.update(f"{position}/{type(layer).__name__}/{weight.name}{tuple(weight.shape)}".encode())
            digest.update(np.ascontiguousarray(ops.convert_to_numpy(weight.value), "<f4").tobytes())
    return digest.hexdigest()


def _architecture(config: SensorConfig) -> keras.Model:
    network = _NETWORKS[config.name]
    images = keras.Input((config.image_size, config.image_size, 3), dtype="uint8", name="images")
    scaled = ImagePreprocessing(network.preprocessing, name="preprocessing")(images)
    # One flat model: its saved weights are laid out like those of keras.applications without the classifier.
    model = network.build(weights=None, include_top=False, pooling="avg", input_tensor=scaled)
    return with_dtype(keras.Model(images, model.output, name=config.name), "float32")


def _first_layers(model: keras.Model, convolutions: int) -> set[str]:
    """Names of the layers before convolution number `convolutions`, counted from 0 in the model's order."""
    names, seen = set(), 0
    for layer in model.layers:
        seen += isinstance(layer, keras.layers.Conv2D)
        if seen > convolutions:
            return names
        names.add(layer.name)
    return names


# Weights of files.


def _load_imagenet(model: keras.Model, config: SensorConfig) -> None:
    shape = (config.image_size, config.image_size, 3)
    try:
        source = _NETWORKS[config.name].build(weights="imagenet", include_top=False, pooling="avg", input_shape=shape)
    except Exception as error:  # keras raises bare Exception where the download fails
        raise WeightsError(
            f"the ImageNet weights of {config.name} cannot be had: {_first_line(error)}", fix=_WAYS_OUT
        ) from error
    model.set_weights(source.get_weights())


def load_sensor_weights(model: keras.Model, path: str | Path, *, ways_out: str = _WAYS_OUT) -> None:
    """Loads an .h5 file into a sensor: Keras 3's `.weights.h5`, or the older form that keras.applications distributes.

    A classifier at the end of the file is passed over.

    Raises:
        WeightsError: the file is absent or no weights file, or a layer is missing or has other shapes.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path, fix=ways_out)
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                _load_older_form(model, root, path, ways_out)
                return
            if "layers" not in file:
                raise WeightsError("the file holds no Keras weights", file=path, found=f"groups {list(file)[:5]}", fix=ways_out)
    except OSError as error:
        raise WeightsError(f"the file is no HDF5 file: {_first_line(error)}", file=path, fix=ways_out) from error
    if not path.name.endswith(".weights.h5"):
        raise WeightsError("Keras 3 weights need a name that ends in .weights.h5", file=path, fix="rename the file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one line per layer; the error below says it once
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise WeightsError(f"the weights do not fit {model.name}: {_first_line(error)}", file=path, fix=ways_out) from error


def _load_older_form(model: keras.Model, root: h5py.Group, path: Path, ways_out: str) -> None:
    """Layer by layer in the file's order, as Keras does; every shape is checked before anything is assigned."""
    groups = [(_text(name), root[_text(name)]) for name in root.attrs["layer_names"]]
    saved = [(name, [group[_text(w)][()] for w in group.attrs["weight_names"]]) for name, group in groups]
    saved = [(name, arrays) for name, arrays in saved if arrays]
    layers = weighted_layers(model)
    classifier = saved[len(layers) :]  # dense layers alone; VGG has three
    if len(saved) < len(layers) or any([array.ndim for array in arrays] != [2, 1] for _, arrays in classifier):
        raise WeightsError(
            f"the file is of another network than {model.name}",
            file=path,
            found=f"{len(saved)} layers with weights",
            expected=f"{len(layers)}",
            fix=ways_out,
        )
    pairs = list(zip(layers, saved, strict=False))
    for layer, (name, arrays) in pairs:
        found, expected = [a.shape for a in arrays], [tuple(w.shape) for w in layer.get_weights()]
        if found != expected:
            raise WeightsError(
                f"the weights do not fit layer {layer.name} of {model.name}",
                file=path,
                place=f"layer {name}",
                found=found,
                expected=expected,
                fix=ways_out,
            )
    for layer, (_, arrays) in pairs:
        layer.set_weights(arrays)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
