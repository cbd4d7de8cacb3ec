"""JSON of TensorFlow Serving's predict API ↔ arrays: rows ("instances") and columns ("inputs").

https://www.tensorflow.org/tfx/serving/api_rest describes both forms. Numbers are JSON numbers; NaN, Infinity and -Infinity are
floating-point numbers too; a string is text or {"b64": …}.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_actrec.serving.errors import RequestError

ROWS, COLUMNS = "instances", "inputs"
_ANSWERS = {ROWS: "predictions", COLUMNS: "outputs"}
_BYTES = "_bytes"  # ending of outputs whose strings are no text
_SHOWN = 256  # characters of a value in a message


@dataclass(frozen=True)
class TensorSpec:
    """What a signature expects of an input.

    Attributes:
        dtype: of NumPy; `object` for strings.
        type_name: as TensorFlow names it ("float", "uint8", …), for messages.
        shape: sizes, -1 where any is welcome; None for any shape.
    """

    dtype: np.dtype
    type_name: str
    shape: tuple[int, ...] | None


def parse_body(body: bytes) -> dict:
    """The JSON object of a request.

    Raises:
        RequestError: no JSON, or something else than an object.
    """
    if not body:
        raise RequestError("JSON Parse error: The document is empty")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError too
        raise RequestError(f"JSON Parse error: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(f"JSON Value: {_shown(content)} Is not object")
    return content


def signature_name(content: Mapping[str, object], default: str) -> str:
    """The signature that a request names.

    Raises:
        RequestError: it is no string.
    """
    name = content.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError(
            f"JSON Value: {_shown(content)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or default


def tensors(content: Mapping[str, object], specs: Mapping[str, TensorSpec]) -> tuple[str, dict[str, np.ndarray]]:
    """The inputs of a request.

    Args:
        content: with "instances" (a row for each entry: they are batched along a new first axis) or "inputs" (whole tensors).
        specs: by the names of the inputs.

    Returns:
        The form, `ROWS` or `COLUMNS`, and name → array.

    Raises:
        RequestError: neither or both forms, an input that is missing or too much, lists of uneven lengths, or values or shapes
            that do not fit the signature.
    """
    if ROWS in content and COLUMNS in content:
        raise RequestError(
            f"JSON Value: {_shown(content)} Not formatted correctly expecting only one of '{COLUMNS}' or '{ROWS}' keys to exist"
        )
    if ROWS in content:
        form, values = ROWS, _rows(content[ROWS], specs)
    elif COLUMNS in content:
        form, values = COLUMNS, _columns(content[COLUMNS], specs)
    else:
        raise RequestError(f"Missing '{COLUMNS}' or '{ROWS}' key")
    return form, {name: _array(values[name], spec, name, form) for name, spec in specs.items()}


def answer(form: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    """The JSON of an answer: of several outputs an object by their names, in rows one for each row.

    Raises:
        RequestError: rows were asked for, and the outputs do not share their first axis.
    """
    values = {name: _values(array, name) for name, array in outputs.items()}
    if form == ROWS:
        _check_rows(outputs)
        names = list(values)
        values = [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]
        if len(names) == 1:
            values = [row[names[0]] for row in values]
    elif len(values) == 1:
        values = next(iter(values.values()))
    return json.dumps({_ANSWERS[form]: values}).encode() + b"\n"


def _rows(instances: object, specs: Mapping[str, TensorSpec]) -> dict[str, list]:
    """Name → the values of all rows."""
    if not isinstance(instances, list):
        raise RequestError(f"JSON Value: {_shown(instances)} Expecting '{ROWS}' to be an list/array")
    if not instances:
        raise RequestError(f"No values in '{ROWS}' array")
    if not _is_named(instances[0]):
        if len(specs) > 1:
            raise RequestError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required: "
                f"{', '.join(specs)}"
            )
        for index, row in enumerate(instances):
            if _is_named(row):
                raise RequestError(f"Expecting value/list but got object at item {index} of input list")
        return {next(iter(specs)): instances}
    for index, row in enumerate(instances):
        if not _is_named(row):
            raise RequestError(f"Expecting object but got list at item {index} of input list")
        if row.keys() != specs.keys():
            raise RequestError(
                f"Failed to process element: {index} of '{ROWS}' list. JSON object: {_shown(row)} keys must be equal to: "
                f"{','.join(sorted(specs))}"
            )
    return {name: [row[name] for row in instances] for name in specs}


def _columns(inputs: object, specs: Mapping[str, TensorSpec]) -> dict[str, object]:
    """Name → value. Further names are ignored, as the server of TensorFlow does it."""
    if not _is_named(inputs):
        if len(specs) > 1:
            raise RequestError(
                f"inputs is a plain value/list, but expecting an object as multiple input tensors required: {', '.join(specs)}"
            )
        return {next(iter(specs)): inputs}
    for name in specs:
        if name not in inputs:
            raise RequestError(f"Missing named input: {name} in '{COLUMNS}' object.")
    return {name: inputs[name] for name in specs}


def _is_named(value: object) -> bool:
    """An object of names and values, and not one that stands for bytes."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _array(value: object, spec: TensorSpec, name: str, form: str) -> np.ndarray:
    """A tensor of nested lists."""
    shape, leaves = _flat(value, name)
    if spec.shape is not None and not _fits(shape, spec.shape):
        raise RequestError(
            f"input {name}: Expecting shape {_listed(spec.shape)} but got: {_listed(shape)}"
            + (f" ('{ROWS}' adds the first axis: one entry for each row)" if form == ROWS else "")
        )
    found = {type(leaf) for leaf in leaves}
    if not found <= _welcome(spec.dtype):
        wrong = next(leaf for leaf in leaves if type(leaf) not in _welcome(spec.dtype))
        raise RequestError(
            f"input {name}: JSON Value: {_shown(wrong)} Type: {_type_name(wrong)} is not of expected type: {spec.type_name}"
        )
    if spec.dtype == object:
        leaves = [_text(leaf) for leaf in leaves]
    try:
        with np.errstate(over="ignore"):  # a number beyond the range of a float is infinite
            array = np.array(leaves, spec.dtype).reshape(shape)
    except OverflowError as error:
        raise RequestError(f"input {name}: a number is out of the range of type {spec.type_name}") from error
    return array


def _flat(value: object, name: str) -> tuple[tuple[int, ...], list]:
    """Shape and values of nested lists; every list of a level has to be as long as the first one."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        size = len(level[0])
        for part in level:
            if not isinstance(part, list):
                raise RequestError(f"input {name}: JSON Value: {_shown(part)} found at incorrect level: {len(shape)}")
            if len(part) != size:
                raise RequestError(
                    f"input {name}: Encountered list at unexpected size: {len(part)} at level: {len(shape)} "
                    f"expected size: {size}"
                )
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    if any(type(leaf) is list for leaf in level):
        raise RequestError(f"input {name}: Encountered list at unexpected level: {len(shape)}")
    return tuple(shape), level


def _welcome(dtype: np.dtype) -> set[type]:
    """Types of JSON values in Python; a bool is an int there, and here it is not."""
    return {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}, "O": {str, dict}}[dtype.kind]


def _text(leaf: str | dict) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()
    if not _is_base64(leaf):
        raise RequestError(f"JSON Value: {_shown(leaf)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("Unable to base64 decode") from error


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(wanted in (-1, size) for size, wanted in zip(shape, expected, strict=True))


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    first = None
    for name, array in outputs.items():
        if not array.ndim:
            raise RequestError(f"Tensor name: {name} has no shape information: ask in columns, with '{COLUMNS}'")
        first = len(array) if first is None else first
        if len(array) != first:
            raise RequestError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {first}. "
                f"Ask in columns, with '{COLUMNS}'"
            )


def _values(array: np.ndarray, name: str) -> object:
    """Nested lists. A float32 is written with as few digits as tell it from its neighbours, as TensorFlow's server does it."""
    if array.dtype.kind == "f":
        return array.astype(str).astype(np.float64).tolist()
    if array.dtype.kind in "OS":
        texts = [_written(value, name) for value in array.ravel().tolist()]
        return np.array(texts, object).reshape(array.shape).tolist()
    return array.tolist()


def _written(value: bytes, name: str) -> str | dict[str, str]:
    if name.endswith(_BYTES):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")


def _type_name(value: object) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    return {dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def _shown(value: object) -> str:
    """The beginning of a value, without writing all of a large one."""
    text = "".join(itertools.islice(json.JSONEncoder(ensure_ascii=False).iterencode(value), _SHOWN))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _listed(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
