"""docs/troubleshooting.md: every message that it quotes is one that the code raises, and the common ones are all in it."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from keras_actrec import errors
from tests.docs.commands import REPOSITORY

TEXT = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE)
PACKAGE = REPOSITORY / "keras_actrec"
HOLE = "\0"

COMMON = {
    "DatasetError": 5,
    "SkeletonFormatError": 3,
    "VideoError": 5,
    "CacheError": 5,
    "WeightsError": 5,
    "ConfigError": 5,
    "TrainingError": 1,
    "DiskFullError": 1,
}
"""Error class → messages of it that the page has at least."""

PLACES = (
    "datasets/own.py",  # the CSV of one's own
    "datasets/pose_json.py",  # and its poses
    "datasets/ntu_skeleton.py",
    "datasets/catalogue.py",
    "video/decode.py",
    "cache/schema.py",
    "cache/reader.py",
    "cache/lock.py",
    "cache/writer.py",
    "extraction/workers.py",
    "extraction/hand_features.py",
    "skeletons/retarget.py",
    "backbones/sensors.py",
    "backbones/visual.py",
    "training/checkpoints.py",
    "training/stages.py",
    "training/strategies.py",
    "training/workers.py",
    "training/holdout.py",
    "export/saved_model.py",
    "pose_estimation/estimator.py",
    "pose_estimation/model_file.py",
    "recipes/parts.py",
    "recipes/prediction/skeletons.py",
    "recipes/vpn/script.py",
    "recipes/own/videos.py",
    "recipes/prediction/sliding.py",
    "datasets/video_list.py",
    "video/camera.py",
    "cli/export.py",
    "cli/folder_predictions.py",
    "cli/poses.py",
    "cli/scoring.py",
    "serving/rest.py",
    "demo.py",
)
"""Files that meet what a user brings, or has forgotten: each has a message on the page."""


def text_of(node: ast.AST) -> str | None:
    """A string of the code with `HOLE` for what is put in when it runs; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [text_of(side) for side in (node.left, node.right)]
        return None if sides == [None, None] else "".join(side or HOLE for side in sides)
    return None


@cache
def strings() -> dict[str, list[str]]:
    """File of the package → strings in it, docstrings left out."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [text_of(node) for node in ast.walk(tree) if id(node) not in documentation]
        found[str(path.relative_to(PACKAGE))] = [text for text in texts if text]
    return found


def matches(quoted: str, text: str) -> bool:
    """Whether a string of the code can be read as the quoted message, whose … are any words."""
    parts = quoted.split("…")
    if len(parts) == 1 or not all(part in text for part in parts):
        return quoted == text
    return re.fullmatch(".+".join(map(re.escape, parts)), text, re.DOTALL) is not None


@cache
def files_with(quoted: str) -> list[str]:
    return [file for file, texts in strings().items() if any(matches(quoted, text) for text in texts)]


def test_there_are_messages():
    assert len(QUOTED) > 40 and len(set(QUOTED)) == len(QUOTED)
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert len(headings) == len(QUOTED), "each heading is a message in code words"


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_one_of_the_code(quoted):
    assert files_with(quoted), f"no string of keras_actrec reads so: {quoted}"


def test_a_message_that_nobody_raises_is_noticed():
    assert not files_with("this sentence is nowhere in the package")
    assert matches("a … of b", f"a {HOLE} of b") and not matches("a … of b", "a of b")


@pytest.mark.parametrize("place", PLACES)
def test_the_places_where_a_user_errs_are_covered(place):
    assert any(place in files_with(quoted) for quoted in QUOTED), f"no message of {place} on the page"


def raised() -> dict[str, set[str]]:
    """Error class → messages that are its first argument somewhere."""
    found: dict[str, set[str]] = {name: set() for name in COMMON}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in found and node.args and (text := text_of(node.args[0])):
                found[name].add(text)
    return found


def test_every_kind_of_error_is_covered():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.ActrecError)}
    assert kinds - {"ActrecError"} == set(COMMON)
    # Messages of reading functions reach their class through a helper, `fail`: they are counted by the class of their file.
    helped = {"SkeletonFormatError": ("datasets/pose_json.py", "datasets/ntu_skeleton.py", "datasets/pose_files.py")}
    helped["DatasetError"] = ("datasets/own.py", "datasets/ntu_index.py")
    messages = raised()
    for name, least in COMMON.items():
        covered = [
            quoted for quoted in QUOTED
            if any(matches(quoted, text) for text in messages[name]) or set(files_with(quoted)) & set(helped.get(name, ()))
        ]  # fmt: skip
        assert len(covered) >= least, f"{name}: {covered}"
