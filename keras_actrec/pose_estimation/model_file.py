"""The file of MediaPipe's pose landmarker: where it is looked for, and fetching it once."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from keras_actrec.errors import WeightsError
from keras_actrec.files import whole_file

MODEL_VARIABLE = "KERAS_ACTREC_POSE_MODEL"
"""Environment variable with the path of a model file."""
CACHE_VARIABLE = "KERAS_ACTREC_CACHE"
"""Environment variable with the folder for what this package fetches, instead of ~/.cache/keras_actrec."""
_SECONDS = 60
_PIECE = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A file that can be fetched, and how to know that it came whole.

    Attributes:
        name: of the file.
        address: where Google distributes it.
        size: bytes.
        sha256: of the bytes, in hexadecimal.
    """

    name: str
    address: str
    size: int
    sha256: str


POSE_LANDMARKER_FULL = ModelFile(
    name="pose_landmarker_full.task",
    address="https://storage.googleapis.com/mediapipe-models/pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
    size=9_398_198,
    sha256="5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
)


def find_pose_model(path: str | Path | None = None, *, model: ModelFile = POSE_LANDMARKER_FULL) -> Path:
    """Where the model is; fetched if it is nowhere.

    Looked for in this order: `path`; the file that the environment variable `KERAS_ACTREC_POSE_MODEL` names; the cache folder
    (`KERAS_ACTREC_CACHE`, or keras_actrec below `XDG_CACHE_HOME` or ~/.cache); then it is fetched into that folder, once.

    Args:
        path: any `.task` file of a pose landmarker (lite, full or heavy); its checksum is not asked.
        model: what is fetched.

    Raises:
        WeightsError: a file that was named is not there, or nothing was named and the file cannot be fetched or comes damaged.
        DiskFullError: no space left for it.
    """
    for given, what in ((path, "the path that was given"), (os.environ.get(MODEL_VARIABLE), f"${MODEL_VARIABLE}")):
        if given:
            return _named(Path(given), what)
    kept = cache_folder() / model.name
    if kept.is_file() and kept.stat().st_size == model.size:
        return kept
    return fetch(model, kept)


def cache_folder() -> Path:
    """The folder for what this package fetches."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_actrec"


def fetch(model: ModelFile, target: Path) -> Path:
    """Downloads a file whole or not at all; what comes is kept only if it has the model's checksum.

    Raises:
        WeightsError: there is no network, the server refuses, or other bytes came.
        DiskFullError: no space left.
    """
    with whole_file(target, shared=True) as part:
        try:
            with urllib.request.urlopen(model.address, timeout=_SECONDS) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file, _PIECE)
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
            raise WeightsError(
                "the model that finds poses is not on this machine, and cannot be fetched", file=target,
                found=getattr(error, "reason", None) or error, fix=_ways_out(model),
            ) from error  # fmt: skip
        found = sha256(part)
        if found != model.sha256:
            raise WeightsError(
                "the model that finds poses came damaged", file=model.address,
                found=f"{part.stat().st_size} bytes, sha256 {found[:12]}…",
                expected=f"{model.size} bytes, sha256 {model.sha256[:12]}…", fix=f"try again, or {_ways_out(model)}",
            )  # fmt: skip
    return target


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(path: Path, what: str) -> Path:
    if not path.is_file():
        raise WeightsError(
            "there is no such model of a pose landmarker", file=path, found=f"no file, named by {what}",
            fix=_ways_out(POSE_LANDMARKER_FULL),
        )  # fmt: skip
    return path


def _ways_out(model: ModelFile) -> str:
    return (
        f"get {model.name} once from {model.address} and name it by --pose-model FILE or {MODEL_VARIABLE}=FILE, "
        f"or put it into {cache_folder()}; or give the clips' skeletons, and no poses need to be found"
    )
