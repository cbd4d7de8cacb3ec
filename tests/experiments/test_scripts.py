"""The scripts: help without loading TensorFlow, and one clear message instead of a traceback."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment, embedded_default
from tests.extraction.small import write_clip

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for room in ("experiments", "preprocessing", "benchmarks") for path in (REPOSITORY / room).glob("*.py"))
WITHOUT_TENSORFLOW = """
import runpy, sys
sys.modules |= {"tensorflow": None, "keras": None, "jax": None}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_there_are_scripts():
    names = {path.name for path in SCRIPTS}
    assert {"ntu_pose_rgb.py", "predict.py", "extract_poses.py", "extract_hand_features.py", "verify_cache.py"} <= names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_help_comes_without_tensorflow(script):
    done = run("-c", WITHOUT_TENSORFLOW, script, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.name}") and done.stderr == ""


# The main job -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with one clip."""
    place = tmp_path_factory.mktemp("ntu")
    write_clip(place, 1)
    return place


def main_job(*arguments, **environment) -> subprocess.CompletedProcess:
    return run(REPOSITORY / "experiments" / "ntu_pose_rgb.py", *arguments, **environment)


def test_real_data_without_weights_end_with_the_three_ways_out(root, tmp_path):
    nobody = "http://127.0.0.1:9"  # nothing listens on the discard port: every download fails at once
    proxies = {name: nobody for way in ("http_proxy", "https_proxy", "all_proxy") for name in (way, way.upper())}
    done = main_job(
        "--data-root", root, "--workdir", tmp_path / "run", "--sensor", "resnet50", "--image-size", 32,
        KERAS_HOME=str(tmp_path / "keras"), no_proxy="", NO_PROXY="", **proxies,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "the ImageNet weights of resnet50 cannot be had" in message
    for way in ("download them once", "--sensor-weights FILE", "--sensor-weights random"):
        assert way in message
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
    assert [name for name in files(tmp_path) if not name.endswith("keras.json")] == []


def test_a_data_root_without_clips_ends_with_the_expected_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    done = main_job(
        "--data-root", tmp_path / "empty", "--workdir", tmp_path / "run",
        "--sensor", "resnet50", "--sensor-weights", "random", "--image-size", 32,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(tmp_path / "empty") in message
    assert "nturgb+d_skeletons" in message and "nturgb+d_rgb" in message
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == [] and not (tmp_path / "run").exists()


def experiment(monkeypatch, *arguments) -> TwoStreamExperiment:
    """What the script makes of its arguments."""
    monkeypatch.setattr(sys, "argv", ["ntu_pose_rgb.py", *map(str, arguments)])
    script = runpy.run_path(str(REPOSITORY / "experiments" / "ntu_pose_rgb.py"))
    return script["experiment_from"](script["arguments"]())


def test_no_arguments_give_the_embedded_default(monkeypatch):
    assert experiment(monkeypatch) == embedded_default(Path("runs/ntu_pose_rgb"))


def test_a_data_root_gives_the_settings_of_the_paper(monkeypatch):
    made = experiment(monkeypatch, "--data-root", "ntu")
    assert made == TwoStreamExperiment(Path("runs/ntu_pose_rgb"), data_root=Path("ntu"))
    # Paper, section 5: crops of 50 pixels, 5 % held out; section 4: Inception V3, Adam with 1e-4, batches of 64.
    assert (made.crop_size, made.holdout, made.sensor.name, made.sensor.image_size) == (50, 0.05, "inception_v3", 299)
    for stage in (made.pose_stage, made.rgb_stage):
        assert (stage.learning_rate, stage.batch_size) == (1e-4, 64)


def test_every_argument_arrives(monkeypatch):
    made = experiment(
        monkeypatch, "--data-root", "ntu", "--workdir", "w", "--cache-dir", "c", "--protocol", "cross_view", "--seed", 7,
        "--preset", "table6_a", "--joint-order", "no_repeats", "--resume",
        "--sensor", "resnet50", "--sensor-weights", "random", "--image-size", 64,
        "--dtype", "bfloat16", "--crop-size", 40, "--workers", 3, "--epochs", 5, 6, "--batch-size", 16,
        "--learning-rate", 0.001, 0.002,        "--patience", 4, "--holdout", 0.2, "--strategy", "none",
    )  # fmt: skip
    assert (made.workdir, made.caches, made.protocol, made.preset) == (Path("w"), Path("c"), "cross_view", "table6_a")
    assert (made.seed, made.resume, made.crop_size, made.workers, made.holdout, made.strategy) == (7, True, 40, 3, 0.2, "none")
    assert made.tensor.order == "no_repeats"
    sensor = made.sensor
    assert (sensor.name, sensor.weights, sensor.image_size, sensor.dtype) == ("resnet50", "random", 64, "bfloat16")
    for stage, epochs, rate in ((made.pose_stage, 5, 0.001), (made.rgb_stage, 6, 0.002)):
        assert (stage.epochs, stage.learning_rate, stage.batch_size, stage.patience, stage.seed) == (epochs, rate, 16, 4, 7)


# Other scripts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("preprocessing/extract_poses.py", "--data-root", "{empty}", "--cache", "{out}/poses"),
        ("preprocessing/extract_hand_features.py", "--data-root", "{empty}", "--poses", "{out}/p", "--cache", "{out}/h"),
        ("preprocessing/check_dataset.py", "{empty}"),
        ("preprocessing/verify_cache.py", "{empty}"),
        ("benchmarks/pose_inference.py", "--data-root", "{empty}"),
    ],
    ids=lambda command: command[0],
)
def test_an_empty_folder_ends_in_one_line_without_a_traceback(tmp_path, command):
    (tmp_path / "empty").mkdir()
    script, *arguments = (word.format(empty=tmp_path / "empty", out=tmp_path) for word in command)
    done = run(REPOSITORY / script, *arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and str(tmp_path / "empty") in done.stderr
    assert files(tmp_path) == []


def test_poses_are_written_and_verified_from_the_command_line(root, tmp_path):
    cache = tmp_path / "poses"
    done = run(REPOSITORY / "preprocessing" / "extract_poses.py", "--data-root", root, "--cache", cache)
    assert done.returncode == 0, done.stderr
    assert "1 clips written" in done.stdout
    assert run(REPOSITORY / "preprocessing" / "verify_cache.py", cache).returncode == 0
    done = run(REPOSITORY / "preprocessing" / "verify_cache.py", tmp_path / "missing", cache)
    assert done.returncode == 1 and str(tmp_path / "missing") in done.stderr and "Traceback" not in done.stderr
    assert str(cache) in done.stdout, "it goes on with the next cache"
    (cache / "poses-00000.h5").write_bytes(b"damaged")
    done = run(REPOSITORY / "preprocessing" / "verify_cache.py", cache)
    assert done.returncode == 1 and "poses-00000.h5" in done.stdout + done.stderr
