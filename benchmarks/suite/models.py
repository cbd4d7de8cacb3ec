"""Forward pass and training step of all four models at the sizes of their papers: clips per second, and memory.

Each network is measured in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from suite.figures import Figure, Settings, in_turns, peak_bytes, rate_figure

CLASSES = 60


@dataclass(frozen=True)
class Network:
    """A network in training, and what a batch of it is.

    Attributes:
        stream: a Keras model with named inputs, compiled.
        targets: labels (B,) and arrays by name (B, …) → what `train_on_batch` takes beside the inputs.
        shapes: name → shape of one row's array that is a target.
    """

    stream: object
    targets: Callable[[np.ndarray, dict[str, np.ndarray]], object]
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """What is built and how much of it is measured.

    Attributes:
        build: quick → the network. Quick ones have fewer and smaller pictures.
        batch, quick_batch: clips (sub-sequences for STA-Hands) at once.
    """

    build: Callable[[bool], Network]
    batch: int
    quick_batch: int = 1


def measure(settings: Settings) -> list[Figure]:
    """Forward pass (inference, all outputs of the objective) and training step (forward, the model's own loss, backward,
    optimizer) as compiled functions, on batches that are in memory; the most memory that either held, libraries included."""
    figures = []
    for name in CASES:
        start = time.perf_counter()
        # "spawn": TensorFlow and JAX do not survive a fork.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            figures += process.submit(measure_case, name, settings.quick).result()
        print(f"models: {name}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return figures


def measure_case(name: str, quick: bool) -> list[Figure]:
    """The figures of one network, measured in this process."""
    import keras

    from suite.compiled import device_peak_bytes, forward

    keras.utils.set_random_seed(0)
    case = CASES[name]
    network, batch = case.build(quick), case.quick_batch if quick else case.batch
    draw = np.random.default_rng(0)
    inputs = {
        key: draw.uniform(-1, 1, (batch, *tensor.shape[1:])).astype(np.float32) for key, tensor in network.stream.input.items()
    }
    arrays = {key: draw.uniform(-1, 1, (batch, *shape)).astype(np.float32) for key, shape in network.shapes.items()}
    targets = network.targets(draw.integers(0, CLASSES, batch), arrays)
    call = forward(network.stream, inputs)
    jobs = {"forward": call, "training step": lambda: network.stream.train_on_batch(inputs, targets)}
    seconds = in_turns(jobs, 2 if quick else 5, warm_up=1)
    figures = [rate_figure(f"models: {name}, {job}", batch, each, "clips/s") for job, each in seconds.items()]
    for place, held in (("peak memory", peak_bytes()), ("peak GPU memory", device_peak_bytes())):
        if held is not None:
            figures.append(Figure(f"models: {name}, {place}", held / 1e6, "MB"))
    return figures


def _compiled(model, objective, stage) -> Network:
    """With an objective of several terms."""
    import keras

    from keras_actrec.training.optimizers import build_optimizer

    stream = objective.select(model)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stream.compile(
        optimizer=build_optimizer(stage, 100),
        loss={"logits": cross_entropy, **objective.losses}, loss_weights=dict(objective.weights),
    )  # fmt: skip
    shapes = {array: tuple(model.output[name].shape[1:]) for name, array in objective.targets.items() if array != "labels"}
    return Network(stream, objective.batch_targets, shapes)


def _sta_hands(quick: bool) -> Network:
    """Stage 2: the RGB stream on the features of a frozen pose network, which runs too."""
    import keras

    from keras_actrec.models.sta_hands import freeze_pose_network, preset, rgb_stream, sta_hands
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.optimizers import build_optimizer

    model = sta_hands(preset("sta_hands_paper", CLASSES))
    freeze_pose_network(model)
    stream = rgb_stream(model)
    stream = keras.Model(stream.input, {"logits": stream.output}, name=stream.name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stream.compile(optimizer=build_optimizer(StageConfig("rgb"), 100), loss={"logits": loss})
    return Network(stream, lambda labels, arrays: {"logits": labels}, {})


def _vpn(quick: bool, *, whole: bool) -> Network:
    from keras_actrec.backbones.i3d import i3d
    from keras_actrec.models.vpn import preset, vpn
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.vpn_objective import vpn_objective

    config, backbone = preset("vpn_paper", CLASSES), None
    if whole:
        backbone = i3d(frames=16, image_size=112) if quick else i3d()
        config = replace(config, map_shape=tuple(backbone.output_shape[1:]))
    stage = StageConfig("vpn", optimizer="sgd", learning_rate=0.01)  # section 4.1
    return _compiled(vpn(config, backbone), vpn_objective(config), stage)


def _glimpse_clouds(quick: bool, *, whole: bool) -> Network:
    from keras_actrec.backbones.inflated_resnet import inflated_resnet50
    from keras_actrec.models.glimpse_clouds import glimpse_clouds, preset
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.glimpse_objective import glimpse_clouds_objective

    config, backbone = preset("glimpse_clouds_paper", CLASSES), None
    if whole:
        config = replace(config, frames=2) if quick else config
        backbone = inflated_resnet50(frames=config.frames, image_size=96 if quick else 224)
        config = replace(config, map_shape=tuple(backbone.output["map"].shape[2:]))
    objective = glimpse_clouds_objective(config)
    network = _compiled(glimpse_clouds(config, backbone), objective, StageConfig("clouds"))
    # Glimpses are attracted by the same joints that poses are compared with.
    return replace(network, shapes={"joints": (config.frames, config.people, config.joints, 2)})


def _rpan(quick: bool, *, whole: bool) -> Network:
    from keras_actrec.backbones.bn_inception import bn_inception
    from keras_actrec.models.rpan import preset, rpan
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.rpan_objective import rpan_objective

    config, backbone = preset("rpan_sub_jhmdb", CLASSES), None
    if whole:
        size = (96, 128) if quick else config.picture_size
        backbone = bn_inception(picture_size=size)
        cube = tuple(backbone.output["cube"].shape[1:])
        config = replace(config, frames=2 if quick else config.frames, cube_shape=cube, picture_size=size)
    stage = StageConfig("rpan", optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, decay="coupled")  # section 4.1
    network = _compiled(rpan(config, backbone), rpan_objective(config), stage)
    return replace(network, shapes={"joints": (config.frames, config.joints, 2)})


CASES = {
    "STA-Hands, sub-sequences of features": Case(_sta_hands, 64, 16),
    "VPN on maps": Case(lambda quick: _vpn(quick, whole=False), 16, 8),
    "VPN with I3D": Case(lambda quick: _vpn(quick, whole=True), 1),
    "Glimpse Clouds on maps": Case(lambda quick: _glimpse_clouds(quick, whole=False), 16, 8),
    "Glimpse Clouds with ResNet-50": Case(lambda quick: _glimpse_clouds(quick, whole=True), 2),
    "RPAN on cubes": Case(lambda quick: _rpan(quick, whole=False), 16, 8),
    "RPAN with BN-Inception": Case(lambda quick: _rpan(quick, whole=True), 2),
}
