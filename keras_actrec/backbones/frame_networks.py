"""Image networks that turn a whole frame, or a stack of optical flow, into a convolutional cube: what RPAN attends to.

Source: Du, Wang and Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
sections 3.1 and 4.1 and table 3; for the initialisation of flow networks Wang et al., "Temporal Segment Networks", ECCV 2016,
section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_actrec.backbones.dtypes import POLICIES, weighted_layers, with_dtype
from keras_actrec.backbones.random_weights import calibration_clips, randomise
from keras_actrec.backbones.sensors import ImagePreprocessing, load_sensor_weights
from keras_actrec.errors import ConfigError, WeightsError

PICTURE = "picture"
RGB_CHANNELS = 3
_FLOW_REST = 128.0  # what stored flow holds where nothing moves
_EXTENT_OF_FLOW = 0.1  # most of a stack hardly moves: its values lie nearer to 0 than those of pictures
_CALIBRATION_PIXELS, _LEAST_PICTURES = 300_000, 4  # of random weights: more would take minutes in float64
_SCALE_OF_GREY_VALUES = 64.0


@dataclass(frozen=True)
class FrameBackboneConfig:
    """An image network.

    Attributes:
        name: "resnet50", "inception_v3", "vgg16" or "bn_inception" (TSN's, the paper's).
        picture_size: (height, width) of the pictures in pixels.
        channels: 3 for RGB, an even number for optical flow: x and y of each stacked frame, 10 for the paper's stacks.
        layer: that gives the cube, by the names of `LAYERS`; "" becomes the first, the network's default. To change the name of
            a configuration with `replace`, set the layer to "" too.
        weights: "imagenet" (keras.applications downloads them; not for bn_inception), "random" (seeded, for trials and tests)
            or the path of an .h5 file: weights as keras.applications distributes them, with or without the classifier, or what
            `save_weights` of such a model or of `build_frame_backbone` wrote, or, for bn_inception, a converted TSN model. A
            flow network takes weights of RGB too, see `build_frame_backbone`.
        dtype: "float32" or "bfloat16": type of the computation; the weights stay float32, and so do cube and pooled feature.
        seed: of "random" weights.

    Raises:
        ConfigError: an unknown name, layer or dtype, a number out of its range, pictures too small for the network, or ImageNet
            weights for bn_inception.
    """

    name: str = "resnet50"
    picture_size: tuple[int, int] = (240, 320)
    channels: int = RGB_CHANNELS
    layer: str = ""
    weights: str = "imagenet"
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "picture_size", tuple(self.picture_size))  # a list, as JSON gives it, is welcome
        if self.name not in _NETWORKS:
            raise ConfigError("unknown frame network", found=self.name, expected=f"one of {', '.join(_NETWORKS)}")
        network = _NETWORKS[self.name]
        object.__setattr__(self, "layer", self.layer or next(iter(network.layers)))  # so that equal networks are equal
        if self.layer not in network.layers:
            raise ConfigError(
                f"{self.name} gives no such cube",
                found=self.layer,
                expected=f"one of {', '.join(network.layers)}",
                fix='the layer "" takes the first of them',
            )
        if self.dtype not in POLICIES:
            raise ConfigError("unknown dtype of the frame network", found=self.dtype, expected=f"one of {', '.join(POLICIES)}")
        if len(self.picture_size) != 2 or min(self.picture_size) < network.least_size:
            raise ConfigError(
                f"no such pictures for {self.name}",
                found=f"picture_size {self.picture_size}",
                expected=f"(height, width), both at least {network.least_size}",
            )
        if self.channels != RGB_CHANNELS and (self.channels < 2 or self.channels % 2):
            raise ConfigError(
                "no such channels of a picture",
                found=self.channels,
                expected="3 (RGB) or an even number (x and y of each flow)",
            )
        if self.weights == "imagenet" and network.application is None:
            raise ConfigError(
                f"there are no ImageNet weights of {self.name}", found=f"weights {self.weights!r}", fix=network.ways_out
            )
        if self.seed < 0:
            raise ConfigError("a seed must not be negative", found=self.seed)


@keras.saving.register_keras_serializable(package="keras_actrec")
class GreyValues(keras.layers.Layer):
    """Pictures in [-1, 1] → 0..255, less an offset.

    Args:
        offset: taken off; TSN takes 128 off of flow, the value of what does not move.

    Input (B, H, W, C), output (B, H, W, C) float32 under every dtype policy: bfloat16 would keep 8 bits of the grey value.
    """

    keeps_dtype = True

    def __init__(self, offset: float = 0.0, *, name: str | None = None, dtype: str = "float32"):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.offset = offset

    def call(self, pictures):
        return pictures * 127.5 + (127.5 - self.offset)

    def compute_output_spec(self, pictures):
        return keras.KerasTensor(pictures.shape, "float32")

    def get_config(self):
        return {"name": self.name, "dtype": "float32", "offset": self.offset}


def build_frame_backbone(config: FrameBackboneConfig, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Builds a frame network with its weights, frozen.

    A flow network is initialised with weights of RGB as TSN does it: each of the first kernel's channels is the mean over the
    three of RGB. A file of a network with `config.channels` is taken as it is.

    Args:
        config: what to build.
        weights: arrays of `get_weights()` of such a network to take instead of `config.weights` (worker processes).

    Returns:
        A model "backbone" from "picture" (B, H, W, channels) in [-1, 1] to float32 {"cube": (B, K1, K2, d), "pooled": (B, d')},
        the mean over all places of the network's last map. For 240 × 320: resnet50 (8, 10, 2048) and 2048; inception_v3
        mixed10 (6, 8, 2048), mixed7 (13, 18, 768), and 2048; vgg16 (7, 10, 512) and 512; bn_inception (8, 10, 1024) and 1024.
        Preprocessing is inside.

    Raises:
        WeightsError: the weights cannot be had, or a file's weights do not fit.
    """
    model = _architecture(config)
    if weights is not None:
        model.set_weights(list(weights))
    elif config.weights == "random":
        _randomise(model, config)
    elif config.weights == "imagenet":
        _take(model, _imagenet(config))
    else:
        _load(model, config)
    model.trainable = False
    return model


# Networks.


@dataclass(frozen=True)
class _Network:
    """layers: name of a cube → layer of the network that is its end. application: of keras.applications, or None."""

    layers: dict[str, str]
    least_size: int
    ways_out: str
    application: Callable[..., keras.Model] | None = None
    caffe: bool = False


_TRIALS = "or take the weights random for trials"
_DOWNLOADED = (
    "either let Keras download them once on a machine with network and copy the file from ~/.keras/models, "
    f"or give a local file as the backbone's weights, {_TRIALS}"
)
_NETWORKS = {
    "resnet50": _Network({"conv5": "conv5_block3_out"}, 32, _DOWNLOADED, keras.applications.ResNet50, caffe=True),
    "inception_v3": _Network({"mixed10": "mixed10", "mixed7": "mixed7"}, 75, _DOWNLOADED, keras.applications.InceptionV3),
    "vgg16": _Network({"block5_pool": "block5_pool"}, 32, _DOWNLOADED, keras.applications.VGG16, caffe=True),
    "bn_inception": _Network(
        {"inception_5a": ""},
        32,
        f"convert TSN's models by preprocessing/convert_tsn_checkpoint.py and give the file, {_TRIALS}",
    ),
}
FRAME_NETWORKS = tuple(_NETWORKS)
LAYERS = {name: tuple(network.layers) for name, network in _NETWORKS.items()}
"""Network → what its cube can be; the first is the default."""


def _architecture(config: FrameBackboneConfig) -> keras.Model:
    if config.name == "bn_inception":
        from keras_actrec.backbones.bn_inception import bn_inception

        maps = _with_dtype(bn_inception(channels=config.channels, picture_size=config.picture_size), config)
        cube, pooled = maps.output["cube"], maps.output["pooled"]
    else:
        network = _NETWORKS[config.name]
        picture = keras.Input((*config.picture_size, config.channels), name=PICTURE)
        # One flat model: its saved weights are laid out like those of keras.applications without the classifier.
        own = network.application(weights=None, include_top=False, input_tensor=_preprocessed(picture, network))
        ends = [own.get_layer(network.layers[config.layer]).output, own.output]
        maps = _with_dtype(keras.Model(picture, ends), config)
        cube, last = maps.outputs
        pooled = keras.layers.GlobalAveragePooling2D(name="pooled", dtype="float32")(last)
    outputs = {"cube": keras.layers.Identity(name="cube", dtype="float32")(cube), "pooled": pooled}
    return keras.Model(maps.input, outputs, name="backbone")


def _with_dtype(model: keras.Model, config: FrameBackboneConfig) -> keras.Model:
    """The network in its own type, whatever Keras is set to; copied only where that differs: it takes time and memory."""
    policy = POLICIES[config.dtype]
    return model if keras.config.dtype_policy().name == policy else with_dtype(model, policy)


def _preprocessed(picture: keras.KerasTensor, network: _Network) -> keras.KerasTensor:
    """What the network was trained with: [-1, 1] itself, or BGR less ImageNet's mean; of flow, grey values less its rest."""
    if not network.caffe:
        return picture
    if picture.shape[-1] != RGB_CHANNELS:
        return GreyValues(_FLOW_REST, name="preprocessing")(picture)
    return ImagePreprocessing("caffe", name="preprocessing")(GreyValues(name="grey_values")(picture))


# Weights.


def _randomise(model: keras.Model, config: FrameBackboneConfig) -> None:
    # Pictures of the network's own size: in smaller ones the zeros around maps count for more.
    height, width = config.picture_size
    count = max(_LEAST_PICTURES, _CALIBRATION_PIXELS // (height * width))
    pictures = calibration_clips(1, max(height, width), config.seed, channels=config.channels)[:count, 0, :height, :width]
    if config.channels != RGB_CHANNELS:
        pictures *= _EXTENT_OF_FLOW
    randomise(model, config.seed, pictures)
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        # Nothing has divided by the scale of the grey values; with biases of 0 the first kernel sets that of all maps.
        kernel = _first_kernel(model)
        kernel.assign(kernel / _SCALE_OF_GREY_VALUES)


def _imagenet(config: FrameBackboneConfig) -> keras.Model:
    network = _NETWORKS[config.name]
    try:
        return network.application(weights="imagenet", include_top=False, input_shape=(*config.picture_size, RGB_CHANNELS))
    except Exception as error:  # keras raises bare Exception where the download fails
        problem = f"the ImageNet weights of {config.name} cannot be had: {str(error).partition(chr(10))[0]}"
        raise WeightsError(problem, fix=network.ways_out) from error


def _load(model: keras.Model, config: FrameBackboneConfig) -> None:
    path, ways_out = Path(config.weights), _NETWORKS[config.name].ways_out
    kernel = _first_kernel(model)
    of_rgb = (*kernel.shape[:2], RGB_CHANNELS, kernel.shape[-1])
    if config.channels != RGB_CHANNELS and _holds(path, of_rgb) and not _holds(path, tuple(kernel.shape)):
        source = _architecture(replace(config, channels=RGB_CHANNELS, dtype="float32"))
        load_sensor_weights(source, path, ways_out=ways_out)
        _take(model, source)
    else:
        load_sensor_weights(model, path, ways_out=ways_out)


def _take(model: keras.Model, source: keras.Model) -> None:
    """Weights of the same network, of which the first kernel may be of RGB: then its mean stands for every channel."""
    values = source.get_weights()
    position = [weight is _first_kernel(source) for weight in source.weights].index(True)
    channels = _first_kernel(model).shape[2]
    if values[position].shape[2] != channels:
        values[position] = np.repeat(values[position].mean(axis=2, keepdims=True), channels, axis=2)
    model.set_weights(values)


def _first_kernel(model: keras.Model) -> keras.Variable:
    """Of the first convolution, (height, width, channels, filters)."""
    return next(weight for layer in weighted_layers(model) for weight in layer.weights if len(weight.shape) == 4)


def _holds(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file has an array of this shape; False for what is no HDF5 file, which the loader says better."""
    found = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: found.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    except OSError:
        return False
    return shape in found
