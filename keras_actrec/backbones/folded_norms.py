"""An image network for inference: batch norms go into the convolutions before them. Features differ by rounding alone.

A convolution, its bias and the ReLU behind it are one operation of TensorFlow; a batch norm between them costs passes of its
own over the map, which on a CPU with bfloat16 is a fifth of the network's time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import keras
import numpy as np

from keras_actrec.backbones.dtypes import weighted_layers


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """A frozen network that computes what `model` computes in inference, layer by layer in the same types.

    Args:
        model: any network; it stays as it is.

    Returns:
        The network without the batch norms that follow a 2D convolution whose result nothing else sees: scale and shift are in
        the convolution's kernel and bias. The model itself where there is none, where it is no flat functional model, or where
        its weights are not finite.
    """
    folds = _folds(model)
    if not folds:
        return model
    weights = {
        convolution: folded_weights(model.get_layer(convolution), model.get_layer(norm)) for norm, convolution in folds.items()
    }
    if not all(np.isfinite(array).all() for arrays in weights.values() for array in arrays):
        return model  # a ReLU that is one with its convolution makes 0 of NaN: broken weights would go unseen

    def with_bias(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        return type(layer).from_config(config | {"use_bias": True} if layer.name in weights else config)

    def call(layer: keras.layers.Layer, *arguments, **settings):
        return arguments[0] if layer.name in folds else layer(*arguments, **settings)

    folded = keras.models.clone_model(model, clone_function=with_bias, call_function=call)
    for layer in weighted_layers(folded):
        layer.set_weights(weights.get(layer.name) or model.get_layer(layer.name).get_weights())
    folded.trainable = False
    return folded


def _folds(model: keras.Model) -> dict[str, str]:
    """Batch norms that can be folded → the convolutions before them."""
    try:
        config = model.get_config()
    except NotImplementedError:  # a model of somebody's own class
        return {}
    if "output_layers" not in config or any(isinstance(layer, keras.Model) for layer in model.layers):
        return {}
    sources = {layer["name"]: list(_sources(layer["inbound_nodes"])) for layer in config["layers"]}
    users = defaultdict(list)
    for user, names in [*sources.items(), ("", _outputs(config["output_layers"]))]:
        for name in names:
            users[name].append(user)
    folds = {}
    for norm in model.layers:
        before = sources[norm.name]
        alone = len(before) == 1 and users[before[0]] == [norm.name]
        if alone and _folds_into(norm, model.get_layer(before[0])):
            folds[norm.name] = before[0]
    return folds


def _sources(value: object) -> Iterator[str]:
    """Names of the layers whose tensors occur in a part of a functional model's config."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            for part in value.values():
                yield from _sources(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _sources(part)


def _outputs(value: object) -> Iterator[str]:
    """Names of the layers whose tensors are outputs: [name, node, tensor] anywhere in lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value[0], str):
        yield value[0]
    else:
        for part in value:
            yield from _outputs(part)


def _folds_into(norm: keras.layers.Layer, layer: keras.layers.Layer) -> bool:
    if type(norm) is not keras.layers.BatchNormalization or type(layer) is not keras.layers.Conv2D:
        return False
    axis = norm.axis if isinstance(norm.axis, int) else -1
    return layer.data_format == "channels_last" and layer.activation is keras.activations.linear and axis in (-1, 3)


def folded_weights(convolution: keras.layers.Layer, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a convolution together with its batch norm; computed in float64, float32."""
    mean, variance = (keras.ops.convert_to_numpy(w).astype("float64") for w in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * keras.ops.convert_to_numpy(norm.gamma)
    shift = -mean * scale
    if norm.center:
        shift = shift + keras.ops.convert_to_numpy(norm.beta)
    kernel, *bias = convolution.get_weights()
    if bias:
        shift = shift + bias[0] * scale
    return [(kernel * scale).astype("float32"), shift.astype("float32")]
