"""The same network with another type of computation, layer by layer; layers that say `keeps_dtype` stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import keras

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""Type of the computation → Keras's policy. Weights stay float32."""
_MEANS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D, keras.layers.GlobalAveragePooling3D)
_NOT_IN_FLOAT64 = (keras.layers.MaxPooling3D, keras.layers.AveragePooling3D)  # TensorFlow has no such kernels


def with_dtype(model: keras.Model, policy: str, *, exact: Collection[str] = ()) -> keras.Model:
    """The same network and weights under another policy; preprocessing and final means stay float32.

    Args:
        model: the network.
        policy: of the other layers.
        exact: names of layers that stay float32 as well.

    Raises:
        ValueError: the model, or one inside it, is neither functional nor sequential: its layers cannot be copied one by one.
    """

    def of_dtype(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer_of_dtype(layer, "float32" if layer.name in exact else policy)

    clone = keras.models.clone_model(model, clone_function=of_dtype, recursive=True)
    for layer, other in zip(leaf_layers(model), leaf_layers(clone), strict=True):
        if layer.weights:
            other.set_weights(layer.get_weights())
    return clone


def layer_of_dtype(layer: keras.layers.Layer, policy: str) -> keras.layers.Layer:
    """A new layer, unbuilt, that differs in its policy alone.

    Raises:
        ValueError: it is a model, of which Keras does not know the layers' connections.
    """
    if isinstance(layer, keras.Model):
        raise ValueError(f"the model {layer.name} is neither functional nor sequential")
    config = layer.get_config()
    if not isinstance(layer, keras.layers.InputLayer) and not getattr(layer, "keeps_dtype", False):
        stays = _NOT_IN_FLOAT64 if policy == "float64" else _MEANS
        config["dtype"] = "float32" if isinstance(layer, stays) else policy
    return type(layer).from_config(config)


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers in order, those of models inside the model in place of these."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def weighted_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """`leaf_layers` that have weights."""
    return [layer for layer in leaf_layers(model) if layer.weights]
