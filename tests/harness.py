"""What every Keras layer and model of this package has to pass: one shared set of checks, called by each test module.

    run_layer_test   configuration, weights, shapes, gradients, eager and compiled, saving, reduced precision
    run_model_test   the same for a functional model
    outputs_on_jax   outputs of saved models on Keras's JAX backend, all in one other process

The tests themselves run on the TensorFlow backend.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

Arrays = Mapping[str, np.ndarray]
ROOT = Path(__file__).resolve().parents[1]
# bfloat16 keeps 8 bits: one rounding is 2^-9, a chain of some tens of them stays below this share of the largest value.
BFLOAT16_TOLERANCE = 0.05


def random_array(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers as float32, the same for the same seed."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


def run_layer_test(
    layer_class: type[keras.layers.Layer],
    *,
    init_kwargs: Mapping[str, object],
    inputs: Arrays,
    expected_output_shapes: tuple[tuple[int, ...], ...],
    expected_weights: Mapping[str, tuple[int, ...]],
    tmp_path: Path,
) -> None:
    """Checks one layer class with one set of arguments.

    Args:
        layer_class: the class under test.
        init_kwargs: constructor arguments; those left out keep their defaults, and have to come back from the config too.
        inputs: call argument name → array with a batch axis.
        expected_output_shapes: with the batch size of `inputs`; one per output.
        expected_weights: path of each weight below the layer ("cell/kernel") → shape.
        tmp_path: folder for the saved model.
    """
    check_config(layer_class, init_kwargs)
    layer = layer_class(**init_kwargs)
    outputs = tf.nest.flatten(layer(**inputs))
    assert tuple(tuple(output.shape) for output in outputs) == expected_output_shapes
    # A layer's name heads the path of its weights; below it stand the names that the layer gave.
    weights = {weight.path.removeprefix(f"{layer.name}/"): tuple(weight.shape) for weight in layer.weights}
    assert weights == dict(expected_weights)

    make_nonzero(layer.weights)
    model = layer_model(layer, inputs)
    run_model_test(lambda: layer_model(layer_class(**init_kwargs), inputs), inputs, model=model, tmp_path=tmp_path)


def run_model_test(
    build: Callable[[], keras.Model],
    inputs: Arrays,
    *,
    tmp_path: Path,
    model: keras.Model | None = None,
    expected_output_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Checks one functional model with named inputs and outputs.

    Args:
        build: makes the model anew, under whatever dtype policy is set; weights need not be the same each time.
        inputs: input name → array with a batch axis.
        tmp_path: folder for the saved model.
        model: one made by `build` already, to check with its weights.
        expected_output_shapes: output name → shape with the batch size of `inputs`.
    """
    if model is None:
        keras.utils.set_random_seed(0)  # other weights once in a while silence a whole small layer, whose gradients are 0
        model = build()
        make_nonzero(model.weights)
    outputs = numpy_outputs(model, inputs)
    if expected_output_shapes is not None:
        assert {name: value.shape for name, value in outputs.items()} == dict(expected_output_shapes)
    check_symbolic_shapes(model, outputs)
    check_compiled_equals_eager(model, inputs, outputs)
    check_batch_size_free(model, inputs, outputs)
    check_gradients(model, inputs)
    check_saving(model, inputs, outputs, tmp_path / "model.keras")
    check_mixed_precision(build, model, inputs, outputs)


def make_nonzero(weights: list[keras.Variable], seed: int = 7) -> None:
    """Adds small noise to all weights, so that a bias that is dropped somewhere shows."""
    for index, weight in enumerate(weights):
        if "float" in weight.dtype:
            weight.assign(np.asarray(weight) + random_array(tuple(weight.shape), seed + index, scale=0.1))


def layer_model(layer: keras.layers.Layer, inputs: Arrays) -> keras.Model:
    """A functional model around one layer: inputs by call argument, outputs named "output0", "output1", …"""
    symbolic = {name: keras.Input(value.shape[1:], name=name) for name, value in inputs.items()}
    outputs = tf.nest.flatten(layer(**symbolic))
    return keras.Model(symbolic, {f"output{index}": output for index, output in enumerate(outputs)})


def numpy_outputs(model: keras.Model, inputs: Arrays) -> dict[str, np.ndarray]:
    """Output name → float32 array, in inference mode."""
    return {name: keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")) for name, y in model(dict(inputs)).items()}


def assert_same_outputs(found: Arrays, expected: Arrays, *, atol: float, rtol: float = 0.0) -> None:
    assert sorted(found) == sorted(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=atol, rtol=rtol, err_msg=f"output {name}")


def check_config(layer_class: type[keras.layers.Layer], init_kwargs: Mapping[str, object]) -> None:
    """Every constructor argument comes back from `get_config`, survives JSON, and makes the same layer again."""
    layer = layer_class(**init_kwargs)
    config = layer.get_config()
    arguments = {name: p for name, p in inspect.signature(layer_class.__init__).parameters.items() if name != "self"}
    assert not [n for n, p in arguments.items() if p.kind is p.VAR_KEYWORD], "constructor arguments are spelled out"
    assert set(arguments) <= set(config), "a constructor argument is missing from get_config"
    for name, value in init_kwargs.items():
        assert config[name] == value
    again = layer_class.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    assert keras.saving.get_registered_object(keras.saving.get_registered_name(layer_class)) is layer_class


def check_symbolic_shapes(model: keras.Model, outputs: Arrays) -> None:
    """What the graph declares is what a call gives, the free batch axis aside."""
    assert {name: tensor.shape[1:] for name, tensor in model.output.items()} == {n: y.shape[1:] for n, y in outputs.items()}
    assert all(tensor.shape[0] is None for tensor in model.output.values())


def check_compiled_equals_eager(model: keras.Model, inputs: Arrays, outputs: Arrays) -> None:
    """tf.function with a free batch axis, without and with XLA, gives what eager execution gives."""
    signature = {name: tf.TensorSpec((None, *value.shape[1:]), tf.float32) for name, value in inputs.items()}
    for jit_compile in (False, True):
        compiled = tf.function(lambda x: model(x), input_signature=[signature], jit_compile=jit_compile)
        found = {name: value.numpy() for name, value in compiled({k: tf.constant(v) for k, v in inputs.items()}).items()}
        for name, value in found.items():
            assert value.dtype == keras.backend.standardize_dtype(model.output[name].dtype), f"declared dtype of {name}"
        assert_same_outputs(found, outputs, atol=1e-5, rtol=1e-5)


def check_batch_size_free(model: keras.Model, inputs: Arrays, outputs: Arrays) -> None:
    """The first sample alone gives the first row: no batch size is baked in and samples do not mix."""
    found = numpy_outputs(model, {name: value[:1] for name, value in inputs.items()})
    assert_same_outputs(found, {name: value[:1] for name, value in outputs.items()}, atol=1e-5, rtol=1e-5)


def check_gradients(model: keras.Model, inputs: Arrays) -> None:
    """One step of gradient descent in training mode moves every trainable weight and no other but batch statistics."""
    before = [np.array(weight) for weight in model.weights]
    with tf.GradientTape() as tape:
        outputs = model(dict(inputs), training=True)
        # Random weights, because the plain sum of a softmax has no gradient.
        loss = sum(
            tf.reduce_sum(tf.cast(y, "float32") * random_array(tuple(y.shape), seed))
            for seed, (_, y) in enumerate(sorted(outputs.items()))
        )
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert None not in gradients, "a trainable weight is not connected to the outputs"
    keras.optimizers.SGD(1.0).apply(gradients, variables)
    trainable = {id(weight) for weight in model.trainable_weights}
    for weight, old in zip(model.weights, before, strict=True):
        if "float" in weight.dtype:
            assert np.all(np.isfinite(np.array(weight))), f"{weight.path} is not finite"
            moves = id(weight) in trainable or weight.name.startswith("moving_")
            assert bool(np.any(np.array(weight) != old)) == moves, weight.path
        weight.assign(old)


def check_saving(model: keras.Model, inputs: Arrays, outputs: Arrays, path: Path) -> None:
    """Saved as .keras and loaded again, the model gives the same outputs to the bit."""
    model.save(path)
    assert_same_outputs(numpy_outputs(keras.saving.load_model(path), inputs), outputs, atol=0.0)


@contextmanager
def dtype_policy(name: str):
    """Sets Keras's global dtype policy for a block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_mixed_precision(build: Callable[[], keras.Model], model: keras.Model, inputs: Arrays, outputs: Arrays) -> None:
    """Under mixed_bfloat16 weights stay float32 and outputs stay near those of float32."""
    with dtype_policy("mixed_bfloat16"):
        mixed = build()
    assert {weight.dtype for weight in mixed.trainable_weights} <= {"float32"}
    assert any(layer.compute_dtype == "bfloat16" for layer in mixed.layers)
    mixed.set_weights(model.get_weights())
    found = numpy_outputs(mixed, inputs)
    scale = {name: np.abs(value).max() for name, value in outputs.items()}
    assert_same_outputs(
        {name: value / scale[name] for name, value in found.items()},
        {name: value / scale[name] for name, value in outputs.items()},
        atol=BFLOAT16_TOLERANCE,
    )


def outputs_on_jax(cases: Mapping[str, tuple[keras.Model, Arrays]], folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Saves models, loads and calls them on Keras's JAX backend in one other process, and returns their outputs.

    Args:
        cases: case name → (functional model with named outputs, inputs).
        folder: an empty folder.

    Returns:
        Case name → output name → float32 array. Skips the test where JAX is not installed.
    """
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: `pip install keras_actrec[jax]`")
    for name, (model, inputs) in cases.items():
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.inputs.npz", **inputs)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.jax_outputs", str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results = {}
    for name in cases:
        with np.load(folder / f"{name}.outputs.npz") as stored:
            results[name] = dict(stored)
    return results
