"""TensorFlow Serving's REST API over one exported model: status, metadata and predict, for trials and small loads.

https://www.tensorflow.org/tfx/serving/api_rest describes the API. Addresses:

    GET   /v1/models/NAME[/versions/VERSION]              {"model_version_status": […]}
    GET   /v1/models/NAME[/versions/VERSION]/metadata     {"model_spec": …, "metadata": {"signature_def": …}}
    POST  /v1/models/NAME[/versions/VERSION]:predict      {"predictions": […]} or {"outputs": …}

An error is {"error": "…"} with the status that TensorFlow Serving gives it: 400 for a request that does not fit, 404 for a
model that is not there. Unlike that server, this one wants a Content-Length (411), limits the size of a body (413), refuses a
number that does not fit an integer type instead of cutting it, and has no labels, no batching and no gRPC.

There are no passwords and no encryption: the server listens on this machine alone unless it is told otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from keras_actrec.errors import ConfigError
from keras_actrec.export.serving import HIGHEST_VERSION, check_model_name
from keras_actrec.serving.errors import RequestError
from keras_actrec.serving.model import ServedModel

MAX_BODY = 256 << 20
"""Bytes: 64 frames of 224 × 224 RGB pixels as JSON numbers of ten characters are 100 million."""
_PIECE = 1 << 20
_DIGITS = 19  # of the highest version
_SILENCE = 60.0  # seconds after which a client that sends nothing is left
_WAITING = 128  # connections that wait to be taken
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.IGNORECASE)


def serve(
    directory: str | Path,
    *,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8501,
    max_body: int = MAX_BODY,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves a model until the process is stopped (KeyboardInterrupt ends it quietly).

    Args:
        directory: an export, or a folder of versions of one: the highest is served. It is loaded, which runs what is in it:
            only exports that you trust.
        name: of the model in addresses.
        host: address to listen on; "127.0.0.1" is this machine alone, "0.0.0.0" everyone who reaches it.
        port: 0 takes a free one.
        max_body: size in bytes up to which requests are read.
        ready: is given the model's address once the server listens.

    Raises:
        ConfigError: a name that cannot stand in an address, a port that is taken or not allowed, or a size that is not
            positive.
        WeightsError: the directory is no export of this package, or damaged.
    """
    with RestServer(directory, name=name, host=host, port=port, max_body=max_body) as server:
        if ready is not None:
            ready(server.address)
        try:
            server.run()
        except KeyboardInterrupt:
            return


class RestServer:
    """A server that listens from its making on, and answers while `run` runs.

    Args, Raises: as of `serve`.

    Attributes:
        address: of the model: http://HOST:PORT/v1/models/NAME.
    """

    def __init__(
        self, directory: str | Path, *, name: str, host: str = "127.0.0.1", port: int = 8501, max_body: int = MAX_BODY
    ):
        if max_body < 1:
            raise ConfigError("the largest size of a request has to be positive", found=max_body, expected="bytes")
        check_model_name(name)
        if not 0 <= port <= 65535:
            raise ConfigError("no such port", found=port, expected="0 to 65535")
        model = ServedModel(directory, name=name)
        try:
            self._server = _Server((host, port), model, max_body)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}", fix="give another port, or 0 for a free one"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_address[1]}/v1/models/{name}"

    def run(self) -> None:
        """Answers until `stop`."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Ends `run` in another thread."""
        self._server.shutdown()

    def close(self) -> None:
        """Lets go of the port."""
        self._server.server_close()

    def __enter__(self) -> RestServer:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # clients that keep a connection do not keep the program
    block_on_close = False
    request_queue_size = _WAITING

    def __init__(self, address: tuple[str, int], model: ServedModel, max_body: int):
        self.model, self.max_body = model, max_body
        # A body takes several times its size once it is parsed: as many at once as there are processors.
        self.turn = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keras_actrec", ""
    timeout = _SILENCE
    server: _Server

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""

    def handle_expect_100(self) -> bool:
        """Asks for a body that is announced only where it will be read."""
        try:
            self._length()
        except RequestError as error:
            self._send_error(error)
            return False
        return super().handle_expect_100()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses itself: unknown methods, lines that are no HTTP."""
        text = message or HTTPStatus(code).phrase
        if code == HTTPStatus.NOT_IMPLEMENTED and self.path.lower().startswith("/v1/"):
            code, text = HTTPStatus.BAD_REQUEST, f"Malformed request: {self.command} {self.path}"
        self._send_error(RequestError(text, code))

    def _answer(self, found: Callable[[str, bytes], bytes]) -> None:
        try:
            body = self._body()
            content = found(urllib.parse.urlsplit(self.path).path, body)
        except RequestError as error:
            self._send_error(error)
        except (ConnectionError, TimeoutError):  # nobody is there to read an answer
            self.close_connection = True
        except Exception as error:
            logging.getLogger(__name__).exception("a request failed")
            self._send_error(RequestError(f"{type(error).__name__} in the server", HTTPStatus.INTERNAL_SERVER_ERROR))
        else:
            self._send(HTTPStatus.OK, content)

    def _get(self, path: str, _: bytes) -> bytes:
        asked = _STATUS.fullmatch(path) or self._malformed(path)
        if asked["name"] is None:
            raise RequestError("Missing model name in request.")
        name, version, model = self._asked(asked)
        if asked["metadata"]:
            self._check_there(name, version)
            return _json(model.metadata())
        if name != model.name:
            raise RequestError(f"Could not find any versions of model {name}", HTTPStatus.NOT_FOUND)
        if version not in (None, model.version):
            raise RequestError(f"Could not find version {version} of model {name}", HTTPStatus.NOT_FOUND)
        return _json(model.status())

    def _post(self, path: str, body: bytes) -> bytes:
        asked = _PREDICT.fullmatch(path) or self._malformed(path)
        name, version, model = self._asked(asked)
        self._check_there(name, version)
        method = asked["method"].lower()
        if method != "predict":
            kind = {"classify": "classification", "regress": "regression"}[method]
            raise RequestError(
                f"Expected {kind} signature method_name to be tensorflow/serving/{method}. Was: tensorflow/serving/predict"
            )
        with self.server.turn:
            return model.predict(body)

    def _malformed(self, path: str) -> re.Match:
        if not path.lower().startswith("/v1/"):
            raise RequestError("Not Found", HTTPStatus.NOT_FOUND)
        raise RequestError(f"Malformed request: {self.command} {path}")

    def _asked(self, asked: re.Match) -> tuple[str, int | None, ServedModel]:
        """Name and version of an address, and the model that is there."""
        if asked["label"] is not None:
            raise RequestError(f"Unrecognized servable version label: {urllib.parse.unquote(asked['label'])}")
        version = asked["version"]
        if version is not None and (len(version) > _DIGITS or int(version) > HIGHEST_VERSION):
            raise RequestError(f"Failed to convert version: {version} to numeric.")
        return urllib.parse.unquote(asked["name"]), None if version is None else int(version), self.server.model

    def _check_there(self, name: str, version: int | None) -> None:
        model = self.server.model
        if name != model.name or version not in (None, model.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(f"Servable not found for request: {wanted}", HTTPStatus.NOT_FOUND)

    def _length(self) -> int:
        """Size of the body in bytes."""
        encodings = (self.headers.get("Transfer-Encoding", ""), self.headers.get("Content-Encoding", ""))
        if any(encoding.lower() not in ("", "identity") for encoding in encodings):
            self.close_connection = True  # where the body ends is not known
            raise RequestError("send the body as it is, with a Content-Length", HTTPStatus.LENGTH_REQUIRED)
        text = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"[0-9]{1,19}", text):
            self.close_connection = True
            raise RequestError(f"Content-Length is no number of bytes: {text}")
        if int(text) > self.server.max_body:
            raise RequestError(
                f"the body has {int(text)} bytes; this server reads up to {self.server.max_body}",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        return int(text)

    def _body(self) -> bytes:
        try:
            length = self._length()
        except RequestError as error:
            if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                self._pass_over(int(self.headers["Content-Length"]))
            raise
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client stopped in the middle of its request")
        return body

    def _pass_over(self, length: int) -> None:
        """Reads a body away: a client that is still sending would not see the answer."""
        while length > 0:
            piece = self.rfile.read(min(length, _PIECE))
            if not piece:
                return
            length -= len(piece)

    def _send_error(self, error: RequestError) -> None:
        self._send(error.status, _json({"error": error.message}))

    def _send(self, status: int, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except (ConnectionError, TimeoutError):
            self.close_connection = True


def _json(content: dict) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
