"""The scripts of RPAN: what their arguments become, what they print, and errors of one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.errors import ConfigError
from keras_actrec.recipes.rpan import run as rpan
from keras_actrec.recipes.rpan import script as rpan_script
from keras_actrec.recipes.rpan.experiment import TASKS, RPANExperiment, embedded_default, rpan_experiment
from keras_actrec.recipes.rpan.script import experiment_from, main, rpan_arguments
from keras_actrec.recipes.seeds import with_seed
from tests.recipes.scripts import (
    assert_ends_with_usage,
    assert_one_error,
    assert_prints_kinds,
    give,
    options_of_scripts,
    run_without_training,
)
from tests.recipes.tiny_rpan import write_jhmdb

JHMDB = {"preset": "rpan_sub_jhmdb", "size": (240, 320), "synthetic": True, "datasets": ("jhmdb", "sub_jhmdb")}
PENN = {"preset": "rpan_penn_action", "size": (270, 480)}


def arguments(name: str = "jhmdb"):
    options = JHMDB if name == "jhmdb" else {**PENN, "synthetic": False, "datasets": ()}
    return rpan_arguments(name, "", **options)


def experiment(monkeypatch, *given, name: str = "jhmdb") -> RPANExperiment:
    """What a script makes of its arguments."""
    give(monkeypatch, *given)
    args = arguments(name)
    return experiment_from(getattr(args, "dataset", name), args)


# Arguments --------------------------------------------------------------------------------------------------------------------


def test_no_arguments_give_the_synthetic_data(monkeypatch):
    assert experiment(monkeypatch) == embedded_default(Path("runs/jhmdb_rpan"))
    variant = experiment(monkeypatch, "--preset", "rpan_sub_jhmdb_max", "--workdir", "w")
    assert variant == embedded_default(Path("w"), preset="rpan_sub_jhmdb_max")


@pytest.mark.parametrize("variant", ["", "_share_all"])
@pytest.mark.parametrize("name", TASKS)
def test_a_data_root_gives_the_settings_of_the_paper(monkeypatch, name, variant):
    preset = TASKS[name].preset + variant
    of_dataset = ("--dataset", name) if name == "sub_jhmdb" else ()
    given = ("--data-root", "d", *of_dataset, *(("--preset", preset) if variant else ()))
    made = experiment(monkeypatch, *given, name="penn_action" if name == "penn_action" else "jhmdb")
    assert made == replace(rpan_experiment(name, Path(f"runs/{name}_rpan"), preset=preset), data_root=Path("d"))


def test_every_argument_arrives(monkeypatch):
    made = experiment(
        monkeypatch, "--data-root", "d", "--dataset", "sub_jhmdb", "--workdir", "w", "--cache-dir", "c", "--protocol", "split2",
        "--preset", "rpan_sub_jhmdb_mean", "--seed", 7, "--resume", "--retry-left-out", "--workers", 3,
        "--streams", "flow", "rgb", "--backbone", "inception_v3", "--backbone-weights", "b.weights.h5",
        "--flow-weights", "f.weights.h5", "--dtype", "bfloat16", "--frames", 6, "--height", 96, "--width", 128, "--views", 4,
        "--training-views", 3, "--flow-method", "tvl1", "--pixel-size", 640, 480, "--layout", "penn_13", "--train", "on_maps",
        "--epochs", 12, "--learning-rate", 0.002, "--batch-size", 24, "--holdout", 0.2, "--strategy", "none",
        "--pose-weight", 0.25,
    )  # fmt: skip
    base = rpan_experiment("sub_jhmdb", Path("w"), preset="rpan_sub_jhmdb_mean")
    size = (96, 128)
    assert made == replace(
        base, data_root=Path("d"), cache_dir=Path("c"), protocol="split2", seed=7, resume=True, retry_left_out=True, workers=3,
        pixel_size=(640, 480), layout="penn_13", train="on_maps", holdout=0.2, strategy="none", streams=("rgb", "flow"),
        training_views=3, pose_weight=0.25, flow_weights="f.weights.h5",
        stage=replace(base.stage, epochs=12, learning_rate=0.002, batch_size=24, seed=7),
        clips=replace(base.clips, frames=6, picture_size=size, views=4),
        flow=replace(base.flow, method="tvl1", picture_size=size),
        backbone=FrameBackboneConfig("inception_v3", size, weights="b.weights.h5", dtype="bfloat16"),
    )  # fmt: skip


def test_arguments_go_over_the_synthetic_settings_too(monkeypatch):
    made = experiment(
        monkeypatch, "--frames", 4, "--epochs", 3, "--train", "end_to_end", "--pose-weight", 0, "--streams", "rgb"
    )
    base = embedded_default(Path("runs/jhmdb_rpan"))
    assert made == replace(
        base, train="end_to_end", pose_weight=0.0, streams=("rgb",), clips=replace(base.clips, frames=4),
        stage=base.stage.with_epochs(3),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["vgg16", "inception_v3", "bn_inception"])
def test_another_network_gives_its_own_cubes(monkeypatch, name):
    made = experiment(monkeypatch, "--data-root", "d", "--backbone", name, "--backbone-weights", "random")
    assert made.backbone == FrameBackboneConfig(name, weights="random")


def test_tsn_has_no_weights_of_imagenet(monkeypatch):
    with pytest.raises(ConfigError, match=r"no ImageNet weights of bn_inception .*preprocessing/convert_tsn_checkpoint\.py"):
        experiment(monkeypatch, "--data-root", "d", "--backbone", "bn_inception")


@pytest.mark.parametrize("side", ["--height", "--width"])
def test_the_pictures_have_two_sides(monkeypatch, side):
    with pytest.raises(ConfigError, match=r"the pictures have two sides \(found one of --height and --width, expected both\)"):
        experiment(monkeypatch, "--data-root", "d", side, 96)


def test_two_data_sets_of_one_script_keep_their_runs_apart(monkeypatch):
    made = [experiment(monkeypatch, "--data-root", "d", "--dataset", name) for name in ("jhmdb", "sub_jhmdb")]
    assert [one.workdir for one in made] == [Path("runs/jhmdb_rpan"), Path("runs/sub_jhmdb_rpan")]


@pytest.mark.parametrize(
    "given",
    [
        ("--train", "head"), ("--streams", "depth"), ("--dtype", "float16"), ("--pixel-size", "320"),
        ("--flow-method", "farneback"),
        ("--frames", "many"), ("--dataset", "penn_action"), ("--initial", "run"),
    ],
)  # fmt: skip
def test_what_is_no_argument_ends_with_the_usage(monkeypatch, capsys, given):
    give(monkeypatch, "--data-root", "d", *given)
    assert_ends_with_usage(arguments, capsys, given[0])


def test_only_the_synthetic_data_need_no_data_root(monkeypatch, capsys):
    give(monkeypatch)
    assert_ends_with_usage(lambda: arguments("penn_action"), capsys, "required: --data-root")


def test_help_names_the_defaults(monkeypatch, capsys):
    give(monkeypatch, "--help")
    with pytest.raises(SystemExit):
        arguments("penn_action")
    shown = " ".join(capsys.readouterr().out.split())
    assert "rpan_penn_action, and that with _without, _share_all" in shown and "default: runs/penn_action_rpan" in shown
    assert "resized to (default: 270)" in shown and "(default: 480)" in shown


# Runs -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jhmdb(tmp_path_factory) -> Path:
    """Videos without joints."""
    return write_jhmdb(tmp_path_factory.mktemp("jhmdb"))


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """In place of the run: its data set, its experiment, and whether the kinds of classes were asked for."""
    made: list[tuple] = []
    monkeypatch.setattr(rpan, "run_rpan_experiment", run_without_training("rgb", made))
    return made


def test_a_data_set_without_joints_is_opened_for_its_videos(jhmdb, tmp_path, monkeypatch, capsys, calls):
    give(monkeypatch, "--data-root", jhmdb, "--workdir", tmp_path, "--epochs", 4, "--protocol", "split3")
    assert main("jhmdb", "", **JHMDB) == 0
    ((dataset, made, kinds),) = calls
    assert (dataset.name, dataset.root, made.stage.epochs, made.protocol, kinds) == ("jhmdb", jhmdb, 4, "split3", False)
    assert len(dataset.records) == 12
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[-2:] == [
        ["accuracy", "62.5", "%", "split3"],
        ["results", "in", f"{tmp_path},", "exported", "model", "in", str(tmp_path / "export")],
    ]


def test_streams_and_found_joints_are_printed(jhmdb, tmp_path, monkeypatch, capsys):
    metrics = {
        "accuracy": {"rgb": 0.5, "flow": 0.25, "rgb+flow": 0.75}, "protocol": "split1",
        "pose_estimation": {"rgb": {"pck": 0.125}, "flow": {"pck": None}},
    }  # fmt: skip
    result = SimpleNamespace(metrics=metrics, export=tmp_path / "export")
    monkeypatch.setattr(rpan, "run_rpan_experiment", lambda *_, **__: result)
    give(monkeypatch, "--data-root", jhmdb, "--workdir", tmp_path)
    assert main("jhmdb", "", **JHMDB) == 0
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert printed[-5:-1] == [
        "accuracy 50.0 % split1 rgb", "accuracy 25.0 % split1 flow", "accuracy 75.0 % split1 rgb+flow",
        "joints found (PCK 0.2) 12.5 % rgb",
    ]  # fmt: skip


def test_the_synthetic_data_are_made_and_their_kinds_printed(tmp_path, monkeypatch, capsys, calls):
    synthetic = SimpleNamespace(metrics=("accuracy",))
    monkeypatch.setattr("keras_actrec.recipes.sta_hands.two_stream.open_synthetic", lambda caches, config, strategy: synthetic)
    give(monkeypatch, "--workdir", tmp_path, "--seed", 2)
    assert main("jhmdb", "", **JHMDB) == 0
    ((dataset, made, kinds),) = calls
    assert dataset is synthetic and made == with_seed(embedded_default(tmp_path), 2) and kinds
    assert_prints_kinds(capsys)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--preset", "table5"), "no such preset of RPAN (found 'table5', expected rpan_sub_jhmdb"),
        (("--protocol", "fold1"), "unknown protocol (found 'fold1', expected one of split1, split2, split3)"),
        (("--holdout", "0"), "holdout is a share of the training clips (found 0.0"),
        (("--views", "0"), "FrameClipConfig: views is out of range (found 0"),
        (("--training-views", "0"), "training_views is out of range (found 0"),
        (("--height", "16", "--width", "24"), "no such pictures for resnet50 (found picture_size (16, 24)"),
        (("--backbone", "alexnet"), "unknown frame network (found alexnet"),
        (("--layout", "jhmdb"), "unknown layout (found 'jhmdb', expected one of None, kinect_v2"),
        (("--pose-weight", "-1"), "RPANConfig: pose_weight is out of range (found -1.0"),
        (("--learning-rate", "0"), "stage rpan: learning_rate is out of range (found 0.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else "",
)
def test_errors_come_in_one_line_before_anything_is_written(jhmdb, tmp_path, monkeypatch, capsys, given, message):
    give(monkeypatch, "--data-root", jhmdb, "--workdir", tmp_path / "w", "--backbone-weights", "random", *given)
    assert_one_error(lambda: main("jhmdb", "", **JHMDB), capsys, message, tmp_path / "w")


def test_a_wrong_data_root_is_named(tmp_path, monkeypatch, capsys):
    give(monkeypatch, "--data-root", tmp_path / "no", "--workdir", tmp_path / "w")
    assert_one_error(lambda: main("jhmdb", "", **JHMDB), capsys, f"{tmp_path / 'no'}: ", tmp_path / "w")


# The scripts ------------------------------------------------------------------------------------------------------------------


def test_the_data_sets_of_the_paper_have_their_scripts(monkeypatch):
    found = options_of_scripts(monkeypatch, rpan_script, "*_rpan.py", "--data-root", "--train on_maps")
    assert found == {"jhmdb": JHMDB, "penn_action": PENN}
    assert {*JHMDB["datasets"], "penn_action"} == set(TASKS)
    for name, options in (("jhmdb", JHMDB), ("sub_jhmdb", JHMDB), ("penn_action", PENN)):
        assert (options["preset"], options["size"]) == (TASKS[name].preset, TASKS[name].picture_size)
