"""The REST server on loopback: TensorFlow Serving's addresses, answers and errors, and what its clients do to a server."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.export import export_vpn
from keras_actrec.export.serving import export_for_serving
from keras_actrec.serving.rest import RestServer, serve
from keras_actrec.skeletons.layouts import KINECT_V2
from tests.export.small_vpn import SAMPLING, small_vpn

CLASSES = ("wave", "clap", "drink")
LIMIT = 2_000_000
PATIENCE = 30  # seconds


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_vpn(
        small_vpn(), tmp_path_factory.mktemp("serving") / "export", class_names=CLASSES, layout=KINECT_V2, sampling=SAMPLING,
        crop={"size": 12}, cleaning={}, backbone={},
    )  # fmt: skip


@contextmanager
def running(directory, **options):
    with RestServer(directory, name="vpn", port=0, max_body=LIMIT, **options) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            server.stop()
            thread.join(PATIENCE)


@pytest.fixture(scope="module")
def address(exported):
    with running(exported) as address:
        yield address


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported))
    yield loaded.signatures
    del loaded


def ask(url: str, body: object = None, *, method: str | None = None):
    """Status and JSON of an answer; a body that is no bytes is written as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=PATIENCE) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        assert error.headers["Content-Type"] == "application/json"
        return error.code, json.load(error)


def site(address: str) -> str:
    return address.removesuffix("/v1/models/vpn")


def rows(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    clip = rng.uniform(-1, 1, (count, 4, 12, 12, 3)).astype(np.float32)
    return {"clip": clip, "pose": rng.normal(0, 1, (count, SAMPLING.poses, 25, 3)).astype(np.float32)}


def as_lists(arrays: dict[str, np.ndarray]) -> dict[str, list]:
    return {name: array.tolist() for name, array in arrays.items()}


def as_instances(arrays: dict[str, np.ndarray]) -> list[dict]:
    return [dict(zip(arrays, row, strict=True)) for row in zip(*as_lists(arrays).values(), strict=True)]


def run(signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in signature(**{k: tf.constant(v) for k, v in arrays.items()}).items()}


# Status and metadata ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "/versions/1"])
def test_status(address, place):
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert ask(address + place) == (200, {"model_version_status": [state]})


def test_metadata_names_inputs_and_outputs_with_types_and_shapes(address, signatures):
    status, found = ask(f"{address}/versions/1/metadata")
    assert status == 200 and found["model_spec"] == {"name": "vpn", "signature_name": "", "version": "1"}
    found = found["metadata"]["signature_def"]["signature_def"]
    assert {"serve", "serving_default", "classify_clip"} <= set(found)
    assert found["serve"]["method_name"] == "tensorflow/serving/predict"
    assert set(found["serve"]["outputs"]) == set(signatures["serve"].structured_outputs)
    images = found["classify_clip"]["inputs"]["images"]
    assert images["dtype"] == "DT_UINT8"
    assert [dim["size"] for dim in images["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]
    assert ask(f"{address}/metadata")[1]["metadata"]["signature_def"]["signature_def"] == found


# Predict ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [{}, {"signature_name": "serve"}, {"signature_name": "serving_default"}])
@pytest.mark.parametrize("count", [1, 3])
def test_rows_and_columns_give_the_signature_s_numbers(address, signatures, signature, count):
    arrays = rows(count)
    expected = run(signatures["serve"], arrays)
    status, found = ask(f"{address}:predict", {**signature, "instances": as_instances(arrays)})
    assert status == 200 and len(found["predictions"]) == count
    for name, value in expected.items():
        np.testing.assert_allclose([row[name] for row in found["predictions"]], value, atol=1e-6)
    status, found = ask(f"{address}/versions/1:predict", {**signature, "inputs": as_lists(arrays)})
    assert status == 200 and set(found["outputs"]) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found["outputs"][name], value, atol=1e-6)


def test_a_clip_without_a_batch_axis_is_asked_for_in_columns(address, signatures):
    rng = np.random.default_rng(1)
    joints = rng.normal(0, 1, (6, 2, 25, 3)).astype(np.float32)
    joints[:, 1] = np.nan  # a person who is not there: NaN in JSON
    arrays = {"images": rng.integers(0, 256, (6, 12, 12, 3), np.uint8), "joints": joints}
    expected = run(signatures["classify_clip"], arrays)
    status, found = ask(f"{address}:predict", {"signature_name": "classify_clip", "inputs": as_lists(arrays)})
    assert status == 200
    for name, value in expected.items():
        np.testing.assert_allclose(found["outputs"][name], value, atol=1e-6, err_msg=name)
    # Frame by frame the inputs fit, but the answer is not one for each frame.
    status, found = ask(f"{address}:predict", {"signature_name": "classify_clip", "instances": as_instances(arrays)})
    assert status == 400 and "inconsistent batch size" in found["error"] and "Ask in columns" in found["error"]


def test_many_clients_at_once_get_their_own_answers(address, signatures):
    clips = [rows(2, seed) for seed in range(8)]

    def client(arrays):
        return ask(f"{address}:predict", {"inputs": as_lists(arrays)})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client, clips, timeout=PATIENCE))
    for arrays, (status, found) in zip(clips, answers, strict=True):
        assert status == 200
        np.testing.assert_allclose(found["outputs"]["scores"], run(signatures["serve"], arrays)["scores"], atol=1e-6)


def test_a_connection_is_kept_for_several_requests(address):
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=PATIENCE) as client:
        for _ in range(2):
            client.sendall(b"GET /v1/models/vpn HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(client).startswith(b"HTTP/1.1 200 OK\r\n")


def read_answer(client: socket.socket) -> bytes:
    """One answer, up to its last byte."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(1)
    length = int(received.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return received + body


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [
        ("/v1/models/other", 404, "Could not find any versions of model other"),
        ("/v1/models/vpn/versions/7", 404, "Could not find version 7 of model vpn"),
        ("/v1/models/other/metadata", 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/vpn/versions/7/metadata", 404, "Servable not found for request: Specific(vpn, 7)"),
        ("/v1/models/vpn/versions/99999999999999999999", 400, "Failed to convert version"),
        ("/v1/models/vpn/labels/stable", 400, "Unrecognized servable version label: stable"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/vpn:predict", 400, "Malformed request: GET /v1/models/vpn:predict"),
        ("/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("/index.html", 404, "Not Found"),
    ],
)
def test_addresses_that_are_not_there(address, place, status, words):
    found = ask(site(address) + place)
    assert found[0] == status and words in found[1]["error"]


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [
        ("/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/vpn/versions/7:predict", 404, "Servable not found for request: Specific(vpn, 7)"),
        ("/v1/models/vpn:classify", 400, "Expected classification signature method_name"),
        ("/v1/models/vpn:regress", 400, "Expected regression signature method_name"),
        ("/v1/models/vpn/metadata", 400, "Malformed request: POST"),
        ("/v1/models/vpn", 400, "Malformed request: POST"),
    ],
)
def test_addresses_that_take_no_request(address, place, status, words):
    found = ask(site(address) + place, {"instances": [1]})
    assert found[0] == status and words in found[1]["error"]


def test_other_methods_are_refused(address):
    status, found = ask(address, method="DELETE")
    assert status == 400 and found["error"] == "Malformed request: DELETE /v1/models/vpn"
    assert ask(site(address), method="PUT")[0] == 501


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signature_name": "train"}, 'Serving signature name: "train" not found in signature def'),
        ({"signature_name": 5}, "'signature_name' key must be a string value"),
        ({"signature_name": "__saved_model_init_op"}, "Failed to get input map for signature: __saved_model_init_op"),
        ({"signature_name": "classify_clip"}, "Missing named input: images"),
        ({"inputs": {"clip": [[1.0]]}}, "Missing named input: pose"),
        ({"inputs": [1.0]}, "expecting an object as multiple input tensors"),
        ({"instances": []}, "expecting only one of"),
    ],
)
def test_requests_that_do_not_fit_the_model(address, change, words):
    status, found = ask(f"{address}:predict", {"inputs": as_lists(rows(1)), **change})
    assert status == 400 and words in found["error"]


def test_arrays_that_do_not_fit_the_model(address):
    arrays = rows(1)
    status, found = ask(f"{address}:predict", {"inputs": as_lists({**arrays, "clip": arrays["clip"][..., :2]})})
    assert status == 400 and "input clip: Expecting shape [-1,4,12,12,3] but got: [1,4,12,12,2]" in found["error"]
    # Shapes that the signature takes, and the graph does not.
    images, joints = np.zeros((3, 12, 12, 3), np.uint8), np.zeros((2, 2, 25, 3), np.float32)
    request = {"signature_name": "classify_clip", "inputs": as_lists({"images": images, "joints": joints})}
    status, found = ask(f"{address}:predict", request)
    assert status == 400 and "images and joints must have the same number of frames" in found["error"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"instances": [1}', b"\xff\xfe"])
def test_bad_json(address, body):
    status, found = ask(f"{address}:predict", body, method="POST")
    assert status == 400 and found["error"].startswith("JSON Parse error: ")


def test_a_body_that_is_too_large(address):
    status, found = ask(f"{address}:predict", b" " * (LIMIT + 1))
    assert status == 413 and found["error"] == f"the body has {LIMIT + 1} bytes; this server reads up to {LIMIT}"
    assert ask(address)[0] == 200


def exchange(address: str, request: bytes) -> bytes:
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=PATIENCE) as client:
        client.sendall(request)
        return read_answer(client)


def test_a_large_body_is_refused_before_it_is_sent(address):
    request = b"POST /v1/models/vpn:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"
    assert exchange(address, request).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"Transfer-Encoding: chunked", b"411"), (b"Content-Encoding: gzip", b"411"), (b"Content-Length: many", b"400")],
)
def test_a_body_of_unknown_length(address, header, status):
    answer = exchange(address, b"POST /v1/models/vpn:predict HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status) and b"Connection: close" in answer


def test_a_client_that_goes_away_leaves_the_server_as_it_was(address):
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=PATIENCE) as client:
        client.sendall(b"POST /v1/models/vpn:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert ask(address)[0] == 200


# Starting ---------------------------------------------------------------------------------------------------------------------


def test_the_highest_version_of_a_folder_is_served(exported, tmp_path):
    for version in (3, 12):
        export_for_serving(exported, tmp_path, name="vpn", version=version)
    with running(tmp_path / "vpn") as address:
        assert ask(address)[1]["model_version_status"][0]["version"] == "12"
        assert ask(f"{address}/versions/3")[0] == 404
        assert ask(f"{address}/versions/12:predict", {"inputs": as_lists(rows(1))})[0] == 200


def test_the_server_listens_on_this_machine_alone(address):
    assert urlsplit(address).hostname == "127.0.0.1"


def test_serve_says_where_and_ends_with_ctrl_c(exported, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RestServer, "run", interrupted)
    addresses = []
    serve(exported, name="my-model", port=0, ready=addresses.append)
    assert addresses[0].startswith("http://127.0.0.1:") and addresses[0].endswith("/v1/models/my-model")


def test_what_cannot_be_served(exported, tmp_path, address):
    with pytest.raises(WeightsError, match=r"neither an exported model nor a folder of versions.*subfolders 1, 2"):
        serve(tmp_path, name="vpn")
    with pytest.raises(ConfigError, match=r"no such name of a model \(found 'a/b'"):
        serve(exported, name="a/b")
    with pytest.raises(ConfigError, match=r"no such port \(found 70000, expected 0 to 65535"):
        serve(exported, name="vpn", port=70000)
    with pytest.raises(ConfigError, match="largest size of a request has to be positive"):
        serve(exported, name="vpn", max_body=0)
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*another port"):
        serve(exported, name="vpn", port=urlsplit(address).port)


def test_a_damaged_model_is_refused(exported, tmp_path):
    damaged = shutil.copytree(exported, tmp_path / "export")
    (damaged / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"the exported model does not load.*[Ee]xport"):
        serve(damaged, name="vpn")
