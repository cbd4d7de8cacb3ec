"""One version of an exported model behind the requests: its signatures, what they expect, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_actrec.errors import WeightsError
from keras_actrec.export.loading import load_export
from keras_actrec.export.serving import find_version
from keras_actrec.serving.errors import STATUSES, RequestError
from keras_actrec.serving.json_tensors import TensorSpec, answer, parse_body, signature_name, tensors

DEFAULT_SIGNATURE = "serving_default"


class ServedModel:
    """A loaded export that answers requests; any number of threads may ask at once.

    Args:
        directory: an export, or a folder of versions of one, see `keras_actrec.export.serving.find_version`.
        name: of the model.

    Attributes:
        name, version: as they stand in addresses.

    Raises:
        WeightsError: the directory is no export of this package, or damaged.
    """

    def __init__(self, directory: str | Path, *, name: str):
        folder, self.version = find_version(directory)
        self.name = name
        self._loaded = load_export(folder)  # its functions live as long as it does
        self._definitions = _definitions(folder)

    def status(self) -> dict[str, object]:
        """`GetModelStatusResponse` as JSON has it."""
        state = {"version": str(self.version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [state]}

    def metadata(self) -> dict[str, object]:
        """`GetModelMetadataResponse` as JSON has it: names, types and shapes of all inputs and outputs."""
        definitions = {
            name: json_format.MessageToDict(
                definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, definition in self._definitions.items()
        }
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }

    def predict(self, body: bytes) -> bytes:
        """Answers a request of the predict API.

        Raises:
            RequestError: the request does not fit the model, or TensorFlow refuses to compute it.
        """
        content = parse_body(body)
        signature = signature_name(content, DEFAULT_SIGNATURE)
        form, arrays = tensors(content, self._specs(signature))
        return answer(form, self._run(signature, arrays))

    def _specs(self, signature: str) -> dict[str, TensorSpec]:
        if signature not in self._definitions:
            raise RequestError(f'Serving signature name: "{signature}" not found in signature def')
        inputs = self._definitions[signature].inputs
        if not inputs:
            raise RequestError(f"Failed to get input map for signature: {signature}")
        return {name: _spec(inputs[name]) for name in sorted(inputs)}

    def _run(self, signature: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            outputs = self._loaded.signatures[signature](**{name: tf.constant(array) for name, array in arrays.items()})
            return {name: outputs[name].numpy() for name in sorted(outputs)}
        except tf.errors.OpError as error:
            raise RequestError(error.message, STATUSES.get(error.error_code, STATUSES[2])) from error


def _definitions(folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as they stand in the file."""
    try:
        content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        return dict(content.meta_graphs[0].signature_def)
    except (OSError, ValueError, IndexError) as error:
        raise WeightsError("the exported model does not load", file=folder, found=str(error), fix="export it again") from error


def _spec(info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    dtype = tf.dtypes.as_dtype(info.dtype)
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(np.dtype(dtype.as_numpy_dtype), _type_name(info.dtype), shape)


def _type_name(number: int) -> str:
    """As TensorFlow Serving's messages have it: "float", "uint8", …"""
    name = tf.dtypes.as_dtype(number).name
    return {"float32": "float", "float64": "double"}.get(name, name)
