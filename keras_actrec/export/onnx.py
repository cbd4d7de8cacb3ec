"""ONNX export: the `serve` signature of any of the four models as one file, compared with the SavedModel before it is kept.

The file holds what `serve` holds (see `export/sta_hands.py`, `vpn.py`, `glimpse_clouds.py`, `rpan.py`): inputs and outputs of
the same names, float32, batches of any size. What is around it, `classify_clip`, stays with the SavedModel: it samples frames
by seeded tables, resizes and averages; a program that runs the ONNX file does this itself, by the options in its metadata:

- `actrec.json`: the export's description as it stands beside the SavedModel: class names, layout, sampling, crops, …;
- `class_names`: a JSON list, in the order of the outputs `logits` and `probabilities`;
- `keras_actrec`: the version that wrote the file.

Needs the extra `onnx` (tf2onnx converts, onnxruntime compares).
"""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from types import ModuleType

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_actrec.errors import ConfigError
from keras_actrec.export.loading import load_export
from keras_actrec.export.saved_model import DESCRIPTION, read_description
from keras_actrec.files import whole_file
from keras_actrec.version import __version__

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference to the SavedModel's outputs, absolute and relative."""
_ROWS = (1, 3)
_FIRST_OUTPUT = "probabilities"
_CALLS = {"If": "StatefulPartitionedCall", "StatelessIf": "PartitionedCall"}
"""Condition → call of one function."""


def export_onnx(directory: str | Path, path: str | Path) -> Path:
    """Converts an exported model to ONNX and compares both on random rows.

    Args:
        directory: export of any model (WORKDIR/export). It is loaded, which runs what is in it: only exports that you trust.
        path: the ONNX file to write; an older one is replaced.

    Returns:
        The path.

    Raises:
        ConfigError: the extra `onnx` is not installed; the model has operations that ONNX has not; or the outputs differ by
            more than 1e-4.
        WeightsError: the directory is no export of this package.
        DiskFullError: no space left.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    path, description = Path(path), read_description(directory)
    loaded = load_export(directory)  # has to outlive its functions
    serve = loaded.signatures["serve"]
    model = _converted(serve, Path(directory), name=description.model)
    text = (Path(directory) / DESCRIPTION).read_text(encoding="utf-8")
    names = json.dumps(list(description.class_names), ensure_ascii=False)
    onnx.helper.set_model_props(model, {DESCRIPTION: text, "class_names": names, "keras_actrec": __version__})
    content = model.SerializeToString()
    _compare(runtime, content, serve, Path(directory))
    with whole_file(path) as part:
        part.write_bytes(content)
    return path


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            "the export to ONNX needs further packages", found=f"no {error.name or name}",
            expected="onnx, tf2onnx and onnxruntime", fix="install them: pip install 'keras_actrec[onnx]'",
        ) from error  # fmt: skip


def _converted(serve, directory: Path, *, name: str):
    """The ONNX model of a signature; inputs in the order of their names, probabilities first among the outputs."""
    loader, converter, optimizer = (_package(f"tf2onnx.{module}") for module in ("tf_loader", "tfonnx", "optimizer"))
    frozen = convert_variables_to_constants_v2(serve, lower_control_flow=False)
    # TensorFlow flattens a dictionary in the order of its keys.
    outputs = dict(zip(sorted(serve.structured_outputs), (tensor.name for tensor in frozen.outputs), strict=True))
    inputs = {name: f"{name}:0" for name in sorted(serve.structured_input_signature[1])}
    order = sorted(outputs, key=lambda output: (output != _FIRST_OUTPUT, output))
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it prints what it raises
    try:
        definition = _without_branches(frozen.graph.as_graph_def())
        with tf.Graph().as_default():
            tf.import_graph_def(definition, name="")
            definition = loader.tf_optimize(list(inputs.values()), list(outputs.values()), definition)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition, name="")
            translated = converter.process_tf_graph(
                graph, opset=OPSET, input_names=list(inputs.values()), output_names=[outputs[name] for name in order],
                tensors_to_rename={tensor: name for name, tensor in (inputs | outputs).items()},
            )  # fmt: skip
            # Otherwise it copies graph and weights before each of some seventy passes, to go back where one fails.
            model = optimizer.optimize_graph(translated, catch_errors=False).make_model(name)
    except Exception as error:
        raise _does_not_convert(directory, error) from error
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # instead of a number of tf2onnx's
    return model


def _without_branches(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """The graph with every condition replaced by its second branch.

    The only condition in `serve` is that of `SpatialAttentionLSTM`: both branches give the same numbers, the first one faster
    for few rows. In ONNX both would have to be there, twenty steps each, and the conversion would take minutes.
    """
    for node in graph.node:
        if node.op in _CALLS:
            branch = node.attr["else_branch"].func.name
            node.op = _CALLS[node.op]
            del node.input[0]
            for name in [name for name in node.attr if name not in ("Tin", "Tout")]:
                del node.attr[name]
            node.attr["f"].func.name = branch
    return graph


def _does_not_convert(directory: Path, error: Exception) -> ConfigError:
    first = (str(error).splitlines() or [""])[0]
    return ConfigError(
        "this model has no form in ONNX", file=directory, found=f"{type(error).__name__}: {first}",
        fix="serve its SavedModel instead: keras-actrec serve, or TensorFlow Serving",
    )  # fmt: skip


def _compare(runtime: ModuleType, content: bytes, serve, directory: Path) -> None:
    """Raises ConfigError unless the ONNX model gives the SavedModel's outputs."""
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _does_not_convert(directory, error) from error
    names = [output.name for output in session.get_outputs()]
    random = np.random.default_rng(0)
    for rows in _ROWS:
        arrays = {
            name: random.uniform(-1, 1, (rows, *spec.shape[1:])).astype(spec.dtype.as_numpy_dtype)
            for name, spec in serve.structured_input_signature[1].items()
        }
        expected = serve(**{name: tf.constant(array) for name, array in arrays.items()})
        for name, found in zip(names, session.run(names, arrays), strict=True):
            wanted = expected[name].numpy()
            if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
                same = found.shape == wanted.shape
                raise ConfigError(
                    f"the ONNX model's {name} differs from the SavedModel's, so it is not written", file=directory,
                    found=f"a difference of {np.abs(found - wanted).max():.2g}" if same else f"shape {found.shape}",
                    expected=f"at most {TOLERANCE:g}" if same else f"shape {wanted.shape}",
                    fix="serve its SavedModel instead: keras-actrec serve, or TensorFlow Serving",
                )  # fmt: skip
