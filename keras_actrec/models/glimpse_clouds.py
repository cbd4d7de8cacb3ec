"""Glimpse Clouds: a few glimpses in each frame, assigned to recurrent workers that recognise the activity. RGB alone in use.

Paper: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018.
The authors' code, github.com/fabienbaradel/glimpse_clouds, differs from it (preset "glimpse_clouds_official"). Written for this
project from the paper, MIT licence. What the paper leaves open, and where the two differ, is listed in docs/fidelity.md.

    clip ── inflated ResNet-50 ─┬─ map Z_t ──────── glimpses ── v ── memory, workers ── r_c ── a linear classifier each ── mean
                                │                      │                                                                 │
                                └─ penultimate map ── c_t ── pose (training only)                                      logits
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.models.glimpse_clouds_config import PRESETS, GlimpseCloudsConfig, preset
from keras_actrec.models.glimpse_recurrence import GlimpseRecurrence

__all__ = ["PRESETS", "GlimpseCloudsConfig", "glimpse_clouds", "glimpse_features", "preset", "with_backbone"]

BACKBONE = "backbone"
"""Name of the inflated ResNet-50 inside of a model."""
RECURRENCE = "glimpse_recurrence"


def glimpse_clouds(config: GlimpseCloudsConfig, backbone: keras.Model | None = None) -> keras.Model:
    """Builds the network as a functional Keras model with named inputs and outputs.

    Args:
        config: sizes and variant.
        backbone: a model from clips (B, T, S, S, 3) to {"map": (B, T, h, w, D), "pose_map": (B, T, h', w', E)}, e.g. of
            `keras_actrec.backbones.inflated_resnet`; it becomes a part of the model. None builds the network that runs on maps
            which were computed before.

    Returns:
        A model on a dict of inputs:
            clip: (B, T, S, S, 3); or, where there is no backbone, map: Z, (B, T, h, w, D), and context: c, (B, T, E), the mean
            of the penultimate map over its places.
        and a dict of outputs, those that the variant has:
            logits: (B, classes), the mean of the workers' (section 4.3).
            worker_logits: (B, C, classes).
            glimpses: x, y, scale_x, scale_y in [-1, 1] of the frame, (B, T, G, 4).
            assignment: p, (B, T, C, G).
            pose: (B, T, P, J, 2), x and y in [-1, 1] of the frame.

    Raises:
        ConfigError: the maps do not fit the configuration.
    """
    inputs, maps, context = _inputs(config, backbone)
    _check_maps(maps, context, config)
    outputs = {"pose": _pose(context, config)}
    logits = []
    if config.has_glimpses:
        clouds = _clouds(maps, context, config)
        logits.append(clouds.pop("logits"))
        outputs |= clouds
    if config.has_global_classifier:
        pooled = ops.mean(maps, axis=(1, 2, 3))
        logits.append(keras.layers.Dense(config.classes, dtype="float32", name="global_classifier")(pooled))
    mean = keras.layers.Average(name="logits", dtype="float32")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(inputs, {"logits": mean, **outputs}, name="glimpse_clouds")


def with_backbone(config: GlimpseCloudsConfig, head: keras.Model, backbone: keras.Model) -> keras.Model:
    """The whole network from a head that was trained on maps: `glimpse_clouds(config, backbone)` with the head's weights."""
    model = glimpse_clouds(config, backbone)
    for layer in head.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def glimpse_features(model: keras.Model) -> keras.Model:
    """The glimpse features v of a model, (B, T, G, D), from its inputs; layers and weights are shared.

    Raises:
        ConfigError: the model has no glimpses.
    """
    if RECURRENCE not in {layer.name for layer in model.layers}:
        raise ConfigError(f"model {model.name} has no glimpses", fix="build another variant than the global model")
    return keras.Model(model.input, model.get_layer(RECURRENCE).output[3], name="glimpse_features")


def _inputs(config: GlimpseCloudsConfig, backbone: keras.Model | None):
    """Inputs by name, Z (B, T, h, w, D) and c (B, T, E)."""
    if backbone is None:
        inputs = {
            "map": keras.Input((config.frames, *config.map_shape), name="map"),
            "context": keras.Input((config.frames, config.context_size), name="context"),
        }
        return inputs, inputs["map"], inputs["context"]
    found = backbone.output
    if not isinstance(found, Mapping) or not {"map", "pose_map"} <= set(found):
        raise ConfigError(
            "the backbone of Glimpse Clouds gives two maps", found=list(found) if isinstance(found, Mapping) else found,
            expected="map and pose_map", fix="take a model of keras_actrec.backbones.inflated_resnet",
        )  # fmt: skip
    clip = keras.Input(backbone.input_shape[1:], name="clip")
    renamed = keras.Model(backbone.input, {name: found[name] for name in ("map", "pose_map")}, name=BACKBONE)
    if not backbone.trainable:  # never True, which would thaw layers that were frozen one by one
        renamed.trainable = False
    maps = renamed(clip)
    return {"clip": clip}, maps["map"], ops.mean(maps["pose_map"], axis=(2, 3))  # section 4.4


def _check_maps(maps, context, config: GlimpseCloudsConfig) -> None:
    found = (tuple(maps.shape[1:]), tuple(context.shape[1:]))
    expected = ((config.frames, *config.map_shape), (config.frames, config.context_size))
    if found != expected:
        raise ConfigError(
            "GlimpseClouds: the feature maps do not fit the configuration", found=found, expected=expected,
            fix="set frames, map_shape and context_size to those of the backbone",
        )  # fmt: skip


def _pose(context, config: GlimpseCloudsConfig):
    """Eq. 13: y^p_t = W_p c_t, squashed to the frame by tanh as in the published code."""
    values = config.people * config.joints * 2
    flat = keras.layers.Dense(values, activation="tanh", dtype="float32", name="pose_regression")(context)
    shape = (config.frames, config.people, config.joints, 2)
    return keras.layers.Reshape(shape, name="pose", dtype="float32")(flat)


def _clouds(maps, context, config: GlimpseCloudsConfig) -> dict[str, keras.KerasTensor]:
    """Glimpses, workers and their logits."""
    tubes = config.attention == "tubes"
    if tubes:  # one place at a time, in the mean over all frames: the crop of a mean is the mean of the crops
        maps = ops.repeat(ops.mean(maps, axis=1, keepdims=True), config.glimpses, axis=1)
        context = ops.repeat(ops.mean(context, axis=1, keepdims=True), config.glimpses, axis=1)
    workers = config.workers if config.has_workers else 1
    glimpses, assignment, states, _ = GlimpseRecurrence(
        glimpses=1 if tubes else config.glimpses,
        workers=workers,
        glimpse_units=config.glimpse_units,
        worker_units=config.worker_units,
        location_units=config.location_units,
        memory_slots=config.memory_slots,
        temperature=config.temperature,
        attention="sequential" if tubes else config.attention,
        pooling="memory" if config.has_workers else "sum",
        encoding=config.encoding,
        distance=config.distance,
        normalise_over=config.normalise_over,
        align_corners=config.align_corners,
        official=config.code == "official",
        name=RECURRENCE,
    )(maps, context)
    if tubes:
        glimpses = ops.repeat(ops.reshape(glimpses, (-1, 1, config.glimpses, 4)), config.frames, axis=1)
    logits = _worker_logits(states, workers, config)
    outputs = {"glimpses": glimpses, "worker_logits": logits, "logits": ops.mean(logits, axis=1)}
    if config.has_workers:
        outputs["assignment"] = assignment
    return outputs


def _worker_logits(states, workers: int, config: GlimpseCloudsConfig):
    """Eq. 11, q_c = W_c r_c of the last frame, (B, C, classes); the published code takes the mean over all frames."""
    logits = []
    for c in range(workers):
        classify = keras.layers.Dense(config.classes, dtype="float32", name=f"worker{c + 1}_classifier")
        if config.code == "official":
            logits.append(ops.mean(classify(states[:, :, c]), axis=1))
        else:
            logits.append(classify(states[:, -1, c]))
    return ops.stack(logits, axis=1)
