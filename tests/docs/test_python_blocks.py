"""Python blocks of README.md and docs/*.md: all compile, what they import is there, and those that can be are executed.

docs/extending.md has a test of its own: tests/docs/test_extending.py.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.docs.commands import Block, Command, all_blocks
from tests.docs.sandbox import Sandbox
from tests.docs.table_scripts import FLOW, JHMDB_CUBES, PEOPLE

BLOCKS = [block for block in all_blocks("python") if block.document != "docs/extending.md"]
Names = dict[str, object]


@dataclass(frozen=True)
class Example:
    """A block that is executed.

    Attributes:
        mark: words that no other block has.
        needs: what is prepared, see `entries.Run`.
        names: what the text takes as given: made from the sandbox.
        replaced: words → what stands for them, where the block names what cannot be had here.
        holds: what has to be true afterwards.
        slow: run by `pytest -m slow`.
    """

    mark: str
    holds: Callable[[Names], bool]
    needs: tuple[str, ...] = ()
    names: Callable[[Sandbox], Names] = lambda box: {}
    replaced: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True)
class Fragment:
    """A block that is only read: `why` says why it is not executed."""

    mark: str
    why: str


def onnx_file(box: Sandbox) -> Names:
    """actrec.onnx, unless the block that makes it was run before."""
    if not box.path("actrec.onnx").exists():
        from keras_actrec.export.onnx import export_onnx

        box.prepare("runs/mine")
        export_onnx(box.path("runs/mine/export"), box.path("actrec.onnx"))
    return {}


def landmarks(box: Sandbox) -> Names:
    """MediaPipe's result of two frames, and a landmarker that gives it."""
    point = SimpleNamespace(x=0.5, y=0.25, z=-0.1, visibility=0.9)
    result = SimpleNamespace(pose_landmarks=[[point] * 33], pose_world_landmarks=[[point] * 33])
    landmarker = SimpleNamespace(detect_for_video=lambda image, timestamp: result)
    return {"video": [(0, None), (33, None)], "landmarker": landmarker, "json": json, "width": 640, "height": 480}


def read_landmarks(names: Names) -> bool:
    from keras_actrec.datasets.pose_files import read_pose_file

    return read_pose_file("clip.json").joints.shape == (2, 1, 33, 3)


def kitchen(box: Sandbox) -> Names:
    from tests.docs import data

    (box.place / "kitchen").mkdir()
    data.own(box.place / "kitchen")
    return {}


def scores(box: Sandbox) -> Names:
    from keras_actrec.training.evaluation import Evaluation, save_scores

    logits = {"fused": np.eye(3, dtype=np.float32)}
    box.path("runs/ntu_pose_rgb").mkdir(parents=True)
    save_scores(box.path("runs/ntu_pose_rgb/scores.npz"), Evaluation(("a", "b", "c"), np.array([0, 1, 1]), logits, 10))
    return {}


def pose_cache(box: Sandbox) -> Names:
    from keras_actrec.datasets.sbu import SBUKinect
    from keras_actrec.extraction.poses import extract_poses
    from tests.docs import data

    data.sbu(box.path("/data/of_formats"))
    extract_poses(SBUKinect(box.path("/data/of_formats")), box.path("cache/poses"), progress=False)
    return {}


def arrays_of_a_clip(box: Sandbox) -> Names:
    rng = np.random.default_rng(0)
    values = {"joints": (24, 2, 25, 3), "features": (24, 4, 2048), "pose_tensors": (2, 20, 300, 3)}
    made = {name: rng.normal(size=shape).astype(np.float32) for name, shape in values.items()}
    return {**made, "features": abs(made["features"])}


def my_backbone(box: Sandbox) -> Names:
    """The block before, saved as my_backbone.py."""
    (text,) = [block.text for block in BLOCKS if "def small_c3d" in block.text]
    (box.place / "my_backbone.py").write_text(text, encoding="utf-8")
    return {}


def server(box: Sandbox) -> Names:
    """`keras-actrec serve` as the page has it, at a free port, and what the page's block before has defined."""
    program = Path(sys.executable).parent / "keras-actrec"
    command = [program, "serve", "--model", "runs/mine/export", "--port", "0"]
    process = subprocess.Popen(command, cwd=box.place, stdout=subprocess.PIPE, text=True)
    base = re.search(r"http://[\w.]+:\d+", process.stdout.readline())[0]
    names: Names = {"close": lambda: (process.terminate(), process.wait(30)), "np": np}
    exec(block_of("def predict(address").text, names)
    ask = names["predict"]
    names["predict"] = lambda documented, *rest: ask(documented.replace("http://127.0.0.1:8501", base), *rest)
    return names


def built(shape: tuple[int, ...], output: str = "logits") -> Callable[[Names], bool]:
    return lambda names: tuple(names["model"].output[output].shape[1:]) == shape


WEIGHTS = "needs published weights; tests/convert loads generated ones of the same names and shapes"
EXAMPLES: tuple[Example | Fragment, ...] = (
    # README.md
    Example(
        'recognizer.timeline("an_hour.mp4")', lambda names: len(Path("what_when.csv").read_text("utf-8-sig").splitlines()) > 2,
        needs=("runs/mine", "clip.mp4"), slow=True,
        replaced={
            '"clip.mp4"': '"clip.mp4", "clip.skeleton"',  # the made figures are no people that could be found
            '"an_hour.mp4"': '"clip.mp4", "clip.skeleton", seconds=0.2, stride=0.1',
        },
    ),
    Example(
        'signatures["classify_clip"](joints=joints', lambda names: "serve" in names["model"].signatures,
        needs=("runs/ntu_pose_rgb",), names=arrays_of_a_clip,
        replaced={"(pose=pose_tensors, hands=features)": "(pose=pose_tensors, hands=features[None, :20].repeat(2, 0))"},
        slow=True,
    ),
    Example('preset("table6_k", classes=60)', built((60,))),
    # docs/backbones.md
    Example(
        'BackboneConfig("i3d", "i3d_rgb.weights.h5", frames=64',
        lambda names: names["map_shape"](names["backbone"]) == (8, 7, 7, 1024), needs=("i3d_rgb.weights.h5",), slow=True,
    ),
    Example("def small_c3d", lambda names: callable(names["small_c3d"])),
    Example(
        "my_backbone:small_c3d", lambda names: names["map_shape"](names["backbone"]) == (4, 8, 8, 64), names=my_backbone
    ),
    Example(
        'FrameBackboneConfig("resnet50", picture_size=(240, 320))',
        lambda names: names["outputs"]["cube"].shape == (1, 8, 10, 2048),
        names=lambda box: {"pictures": np.zeros((1, 240, 320, 3), np.float32)},
        replaced={'"resnet50", ': '"resnet50", weights="random", '}, slow=True,
    ),
    Example(
        'channels=10, weights="tsn_flow.weights.h5"', lambda names: names["flow"].input_shape[-1] == 10,
        needs=("tsn.weights.h5",), slow=True,
    ),
    # docs/distributed.md
    Fragment('build_strategy("multiworker")', "a frame to fill in; tests/training/worker_run.py is one that two workers run"),
    Fragment("RayCluster(address=", "needs a cluster; tests/extraction/test_ray_shards.py starts one"),
    # docs/formats.md
    Example("write_pose_file(", lambda names: names["sequence"].joints.shape == (30, 1, 33, 3)),
    Example("in cache.clip_ids", lambda names: len(names["cache"].clip_ids) == 42, names=pose_cache),
    Example("load_scores", lambda names: names["result"].accuracy["fused"] == pytest.approx(2 / 3), names=scores),
    # docs/frame_clips.md, docs/optical_flow.md, docs/person_clips.md
    Example(
        "FrameCubeCache(", lambda names: len(names["cache"].clip_ids) == 12, needs=(JHMDB_CUBES,),
        replaced={'["clip"]': '["catch0"]'}, slow=True,
    ),
    Example(
        "FlowCache(", lambda names: names["flow"].lengths["catch0"] == 9, needs=(FLOW,),
        names=lambda box: {"clip": "catch0", "frames": np.array([0, 8]), "pictures": np.zeros((2, 4, 4, 10), np.uint8)},
    ),
    Example(
        "open_person_clips", lambda names: "S001C001P001R001A001" in names["clips"].lengths, needs=(PEOPLE,),
        names=lambda box: {"frames": np.array([0, 5])},
    ),
    # docs/models.md, and the pages of the models
    Example('preset("sta_hands_paper", classes=60)', built((60,))),
    Example("on maps; vpn(config, backbone)", built((8, 7, 7), "attention")),
    Example("on maps; with a backbone the whole", built((8, 3, 4), "glimpses")),
    Example("on cubes; rpan(config, backbone)", built((8, 15, 8, 10), "attention")),
    Example('InflatedResNetConfig(weights="random")', built((8, 3, 3), "assignment"), slow=True),
    Fragment("load_official_glimpse_clouds", WEIGHTS),
    Example('FrameBackboneConfig(name="bn_inception", weights="random")', built((8, 15, 8, 10), "attention"), slow=True),
    Example("build_backbone(BackboneConfig())", built((8,), "temporal_attention"), slow=True),
    Fragment("load_official_vpn", WEIGHTS),
    # docs/own_data.md
    Example('OwnDataset("kitchen/clips.csv")', lambda names: len(names["dataset"].records) == 12, names=kitchen),
    Example(
        'np.savez("clip.npz"', lambda names: len(np.load("clip.npz")["layout"].item()) > 0,
        names=lambda box: {"np": np, "joints": np.zeros((9, 1, 20, 3)), "pixels": np.zeros((9, 1, 20, 2))},
    ),
    Example("landmarker.detect_for_video", read_landmarks, names=landmarks),
    # docs/serving.md
    Example("def predict(address", lambda names: callable(names["predict"])),
    Example(
        'predict("http://127.0.0.1:8501/v1/models/actrec"',
        lambda names: abs(names["answer"]["probabilities"].sum() - 1) < 1e-4, needs=("runs/mine",), names=server, slow=True,
    ),
    Example(
        'export_for_serving("runs/mine/export"', lambda names: Path("models/actrec/1/saved_model.pb").is_file(),
        needs=("runs/mine",), slow=True,
    ),
    Example(
        'tf.saved_model.load("runs/mine/export")', lambda names: names["probabilities"].shape[0] == 1, needs=("runs/mine",),
        slow=True,
    ),
    Example('export_onnx("runs/mine/export"', lambda names: Path("actrec.onnx").is_file(), needs=("runs/mine",), slow=True),
    Example(
        "onnxruntime.InferenceSession", lambda names: len(names["probabilities"]) == 3 and len(names["class_names"]) > 1,
        names=onnx_file, slow=True,
    ),
    # docs/quickstart.md
    Example(
        "answer.top()", lambda names: len(names["answer"].top()) == 5, needs=("runs/ntu_pose_rgb", "clip.mp4"), slow=True
    ),
)  # fmt: skip


def block_of(mark: str) -> Block:
    (block,) = [block for block in BLOCKS if mark in block.text]
    return block


def test_every_block_is_executed_or_said_to_be_a_fragment():
    marked = {str(block_of(example.mark)) for example in EXAMPLES}
    assert len(marked) == len(EXAMPLES)
    missing = [str(block) for block in BLOCKS if str(block) not in marked]
    assert not missing, f"Python blocks that tests/docs/test_python_blocks.py does not know: {', '.join(missing)}"


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_what_a_block_imports_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_actrec"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block}: {node.module} has no {alias.name}"


def run_block(example: Example, sandbox_of, monkeypatch) -> None:
    block = block_of(example.mark)
    box = sandbox_of(Command("", (str(block),)))
    for need in example.needs:
        box.prepare(need)
    names: Names = {**example.names(box)}
    for earlier in BLOCKS:  # names that a block before it on the page has imported
        if earlier.document == block.document and earlier.line < block.line and "import" in earlier.text:
            lines = [line for line in earlier.text.splitlines() if line.startswith(("from keras_actrec", "import numpy"))]
            exec("\n".join(lines), names)
    text = block.text
    for words, instead in example.replaced.items():
        assert words in text, f"{block}: nothing to replace: {words}"
        text = text.replace(words, instead)
    monkeypatch.chdir(box.place)
    monkeypatch.syspath_prepend(str(box.place))
    try:
        exec(compile(box.located(text), str(block), "exec"), names)
    finally:
        names.get("close", lambda: None)()
    assert example.holds(names)


def params(*, slow: bool) -> list:
    chosen = [example for example in EXAMPLES if isinstance(example, Example) and example.slow == slow]
    return [pytest.param(example, id=example.mark[:60].replace("/", "_")) for example in chosen]


@pytest.mark.parametrize("example", params(slow=False))
def test_a_block_runs(example, sandbox_of, monkeypatch):
    run_block(example, sandbox_of, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("example", params(slow=True))
def test_a_long_block_runs(example, sandbox_of, monkeypatch):
    run_block(example, sandbox_of, monkeypatch)
