"""JSON of TensorFlow Serving's predict API: rows and columns to arrays and back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_actrec.serving.errors import RequestError
from keras_actrec.serving.json_tensors import TensorSpec, answer, parse_body, signature_name, tensors

CLIP = TensorSpec(np.dtype(np.float32), "float", (-1, 2))
IMAGE = TensorSpec(np.dtype(np.uint8), "uint8", (-1, -1, 2))
TEXT = TensorSpec(np.dtype(object), "string", (-1,))
FLAG = TensorSpec(np.dtype(bool), "bool", (-1,))


def read(body: str, /, **specs: TensorSpec):
    return tensors(parse_body(body.encode()), specs)


# The examples of https://www.tensorflow.org/tfx/serving/api_rest, by hand: a row for each entry, and the same in columns.


def test_rows_of_several_inputs_are_batched():
    form, found = read(
        '{"instances": [{"signal": [1, 2], "sensor": [[1, 2], [3, 4]]}, {"signal": [3, 4], "sensor": [[4, 5], [6, 8]]}]}',
        signal=CLIP, sensor=TensorSpec(np.dtype(np.int32), "int32", (-1, 2, 2)),
    )  # fmt: skip
    assert form == "instances"
    np.testing.assert_array_equal(found["signal"], np.float32([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(found["sensor"], [[[1, 2], [3, 4]], [[4, 5], [6, 8]]])
    assert found["signal"].dtype == np.float32 and found["sensor"].dtype == np.int32


def test_rows_of_one_input_need_no_name():
    for text in ('{"instances": [[1, 2], [3, 4]]}', '{"instances": [{"clip": [1, 2]}, {"clip": [3, 4]}]}'):
        np.testing.assert_array_equal(read(text, clip=CLIP)[1]["clip"], [[1, 2], [3, 4]])


def test_columns_are_whole_tensors():
    form, found = read('{"inputs": {"clip": [[1, 2]], "image": [[[7, 255]]], "more": 3}}', clip=CLIP, image=IMAGE)
    assert form == "inputs" and list(found) == ["clip", "image"]  # others are ignored, as the server of TensorFlow does it
    assert found["image"].dtype == np.uint8 and found["image"].tolist() == [[[7, 255]]]
    assert found["clip"].shape == (1, 2)
    np.testing.assert_array_equal(read('{"inputs": [[1, 2]]}', clip=CLIP)[1]["clip"], [[1, 2]])


def test_numbers_that_are_none_are_floats():
    found = read('{"inputs": [[NaN, Infinity], [-Infinity, 1e300]]}', clip=CLIP)[1]["clip"]
    np.testing.assert_array_equal(found, np.float32([[np.nan, np.inf], [-np.inf, np.inf]]))


def test_strings_and_flags():
    np.testing.assert_array_equal(
        read('{"instances": ["é", {"b64": "AP8="}]}', text=TEXT)[1]["text"], np.array(["é".encode(), b"\x00\xff"], object)
    )
    assert read('{"inputs": [true, false]}', flag=FLAG)[1]["flag"].tolist() == [True, False]


def test_a_signature_by_name():
    assert signature_name({"signature_name": "classify_clip"}, "serving_default") == "classify_clip"
    assert (
        signature_name({"signature_name": ""}, "serving_default") == "serving_default" == signature_name({}, "serving_default")
    )
    with pytest.raises(RequestError, match="'signature_name' key must be a string value"):
        signature_name({"signature_name": 100}, "serving_default")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"instances": [[1, 2]], "inputs": [[1, 2]]}', "expecting only one of 'inputs' or 'instances'"),
        ('{"signature_name": "serve"}', "Missing 'inputs' or 'instances' key"),
        ('{"instances": 3}', "Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": [[1, 2], {"clip": [1, 2]}]}', "Expecting value/list but got object at item 1"),
        ('{"instances": [{"clip": [1, 2]}, [1, 2]]}', "Expecting object but got list at item 1"),
        ('{"instances": [{"clip": [1, 2], "clop": 1}]}', "Failed to process element: 0 .* keys must be equal to: clip"),
        ('{"inputs": {"clop": [[1, 2]]}}', "Missing named input: clip in 'inputs' object"),
        ('{"instances": [[1, 2], [3]]}', "list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"instances": [[1, 2], 3]}', "JSON Value: 3 found at incorrect level: 1"),
        ('{"instances": [[1, [2]]]}', "list at unexpected level: 2"),
        ('{"instances": [[1, 2, 3]]}', r"Expecting shape \[-1,2\] but got: \[1,3\] \('instances' adds the first axis"),
        ('{"inputs": [1, 2]}', r"Expecting shape \[-1,2\] but got: \[2\]$"),
        ('{"inputs": []}', r"Expecting shape \[-1,2\] but got: \[0\]$"),
        ('{"inputs": [["x", 2]]}', 'JSON Value: "x" Type: String is not of expected type: float'),
        ('{"inputs": [[1, true]]}', "JSON Value: true Type: True is not of expected type: float"),
        ('{"inputs": [[1, null]]}', "JSON Value: null Type: Null is not of expected type: float"),
        ('{"inputs": [[1, {"b64": "AP8="}]]}', "Type: Object is not of expected type: float"),
        ('{"inputs": [[1, 1' + 400 * "0" + "]]}", "out of the range of type float"),
    ],
)  # fmt: skip
def test_what_does_not_fit_an_input(text, words):
    with pytest.raises(RequestError, match=words) as error:
        read(text, clip=CLIP)
    assert error.value.status == 400


def test_what_does_not_fit_several_inputs():
    with pytest.raises(RequestError, match=r"plain list, but expecting list of objects .* clip, image"):
        read('{"instances": [[1, 2]]}', clip=CLIP, image=IMAGE)
    with pytest.raises(RequestError, match=r"plain value/list, but expecting an object .* clip, image"):
        read('{"inputs": [[1, 2]]}', clip=CLIP, image=IMAGE)


@pytest.mark.parametrize(("value", "words"), [("256", "out of the range"), ("-1", "out of the range"), ("1.0", "Type: Number")])
def test_a_pixel_is_a_whole_number_of_its_type(value, words):
    with pytest.raises(RequestError, match=words):
        read(f'{{"inputs": [[[0, {value}]]]}}', image=IMAGE)


@pytest.mark.parametrize(
    ("value", "words"), [('{"b64": "?"}', "Unable to base64 decode"), ('{"b64": 3}', "not formatted correctly for base64")]
)
def test_bytes_that_are_not_base64(value, words):
    with pytest.raises(RequestError, match=words):
        read(f'{{"inputs": {{"text": ["a", {value}]}}}}', text=TEXT)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"instances = [1, 2]", "JSON Parse error: "),
        (b'{"instances": [1', "JSON Parse error: "),
        (b'{"instances": "\xff"}', "JSON Parse error: "),
        (b"[" * 100_000, "JSON Parse error: "),
        (b"[1, 2]", r"JSON Value: \[1, 2\] Is not object"),
    ],
)
def test_bodies_that_are_no_json_object(body, words):
    with pytest.raises(RequestError, match=words) as error:
        parse_body(body)
    assert error.value.status == 400


def test_a_message_shows_only_the_beginning_of_a_value():
    with pytest.raises(RequestError, match="Is not object") as error:
        parse_body(json.dumps(list(range(100_000))).encode())
    assert len(error.value.message) < 1000


# Answers ----------------------------------------------------------------------------------------------------------------------


def test_one_output_goes_without_its_name():
    assert json.loads(answer("instances", {"scores": np.float32([[0.5, 2], [1, 4]])})) == {"predictions": [[0.5, 2], [1, 4]]}
    assert json.loads(answer("inputs", {"scores": np.float32([[0.5, 2]])})) == {"outputs": [[0.5, 2]]}


def test_several_outputs_are_objects():
    outputs = {"scores": np.float32([[0.5], [1]]), "frames": np.int32([3, 4])}
    rows = {"predictions": [{"scores": [0.5], "frames": 3}, {"scores": [1.0], "frames": 4}]}
    assert json.loads(answer("instances", outputs)) == rows
    assert json.loads(answer("inputs", outputs)) == {"outputs": {"scores": [[0.5], [1.0]], "frames": [3, 4]}}


def test_floats_are_written_with_the_digits_that_they_have():
    values = np.float32([0.2, 1, 1e-5, 16777216, 3e38, np.nan, np.inf, -np.inf])
    text = answer("inputs", {"x": values}).decode()
    assert text == '{"outputs": [0.2, 1.0, 1e-05, 16777216.0, 3e+38, NaN, Infinity, -Infinity]}\n'
    np.testing.assert_array_equal(np.float32(json.loads(text)["outputs"]), values)


def test_bytes_are_written_by_the_ending_of_their_name():
    found = json.loads(answer("inputs", {"a": np.array([b"wave"], object), "a_bytes": np.array([b"\xff"], object)}))
    assert found == {"outputs": {"a": ["wave"], "a_bytes": [{"b64": "/w=="}]}}


def test_rows_need_a_first_axis_that_all_outputs_share():
    with pytest.raises(RequestError, match=r"b has inconsistent batch size: 2 expecting: 1. Ask in columns"):
        answer("instances", {"a": np.zeros((1, 3)), "b": np.zeros(2)})
    with pytest.raises(RequestError, match="a has no shape information"):
        answer("instances", {"a": np.float32(1)})
