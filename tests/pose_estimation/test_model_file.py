"""Where the model of the pose landmarker is looked for, and fetching it: once, whole, or with words that help."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keras_actrec.errors import DiskFullError, WeightsError
from keras_actrec.pose_estimation import model_file
from keras_actrec.pose_estimation.model_file import (
    CACHE_VARIABLE,
    MODEL_VARIABLE,
    POSE_LANDMARKER_FULL,
    ModelFile,
    cache_folder,
    fetch,
    find_pose_model,
)

CONTENT = bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path) -> ModelFile:
    source = tmp_path / "there" / "small.task"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    return ModelFile("small.task", source.as_uri(), len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def write(path: Path, content: bytes = b"mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_places_in_their_order(tmp_path, monkeypatch, own_cache, model):
    given, named = write(tmp_path / "given.task"), write(tmp_path / "named.task")
    kept = write(own_cache / "small.task", CONTENT)
    monkeypatch.setenv(MODEL_VARIABLE, str(named))
    assert find_pose_model(given, model=model) == given
    assert find_pose_model(str(given), model=model) == given
    assert find_pose_model(model=model) == named
    monkeypatch.delenv(MODEL_VARIABLE)
    monkeypatch.setattr(model_file, "fetch", lambda *_: pytest.fail("fetched although it is there"))
    assert find_pose_model(model=model) == kept


def test_fetched_once(own_cache, model, tmp_path):
    found = find_pose_model(model=model)
    assert found == own_cache / "small.task" and found.read_bytes() == CONTENT
    assert [path.name for path in own_cache.iterdir()] == ["small.task"], "nothing unfinished stays"
    (tmp_path / "there" / "small.task").unlink()
    assert find_pose_model(model=model) == found


def test_a_file_that_was_cut_is_fetched_anew(own_cache, model):
    write(own_cache / "small.task", CONTENT[:100])
    assert find_pose_model(model=model).read_bytes() == CONTENT


def test_the_cache_folder(monkeypatch, tmp_path, own_cache):
    assert cache_folder() == own_cache
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "keras_actrec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "keras_actrec"


def test_a_name_without_file(tmp_path, monkeypatch):
    words = r"there is no such model of a pose landmarker \(found no file, named by {}\)\. Get pose_landmarker_full\.task once "
    with pytest.raises(WeightsError, match=r"absent\.task: " + words.format("the path that was given")):
        find_pose_model(tmp_path / "absent.task")
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=words.format(r"\$KERAS_ACTREC_POSE_MODEL")):
        find_pose_model()


def test_no_network(own_cache, model):
    absent = replace(model, address=model.address + ".absent")
    with pytest.raises(WeightsError) as error:
        find_pose_model(model=absent)
    words = str(error.value)
    assert "the model that finds poses is not on this machine, and cannot be fetched (found " in words
    assert f"Get small.task once from {absent.address} and name it by --pose-model FILE or" in words
    assert f"or put it into {own_cache}; or give the clips' skeletons" in words
    assert not list(own_cache.iterdir())


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"\0", CONTENT[:-5], b""])
def test_other_bytes_are_not_kept(own_cache, model, tmp_path, content):
    (tmp_path / "there" / "small.task").write_bytes(content)
    words = rf"came damaged \(found {len(content)} bytes, sha256 \w{{12}}…, expected 2048 bytes, sha256 {model.sha256[:12]}…\)"
    with pytest.raises(WeightsError, match=words + r"\. Try again, or get small\.task once"):
        find_pose_model(model=model)
    assert not list(own_cache.iterdir())


def test_a_full_disk(tmp_path, model, full_disk):
    with full_disk(500), pytest.raises(DiskFullError, match=r"small\.task: no space left"):
        fetch(model, tmp_path / "small.task")
    assert not (tmp_path / "small.task").exists()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(self.path.strip("/"))
        if status == 0:  # no HTTP at all
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if status == 200 else b"")
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_over_http(server, model, own_cache):
    assert find_pose_model(model=replace(model, address=f"{server}/200")).read_bytes() == CONTENT


@pytest.mark.parametrize(("path", "found"), [("404", "Not Found"), ("503", "Service Unavailable"), ("0", "nonsense")])
def test_a_server_that_refuses(server, model, own_cache, path, found):
    with pytest.raises(WeightsError, match=rf"cannot be fetched \(found .*{found}"):
        find_pose_model(model=replace(model, address=f"{server}/{path}"))
    assert not list(own_cache.iterdir())


def test_what_is_fetched_is_what_google_distributes():
    assert POSE_LANDMARKER_FULL.size == 9_398_198 and POSE_LANDMARKER_FULL.address.endswith("/pose_landmarker_full.task")
    assert len(POSE_LANDMARKER_FULL.sha256) == 64 and POSE_LANDMARKER_FULL.address.startswith("https://")
