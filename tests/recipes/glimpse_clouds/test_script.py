"""The scripts of Glimpse Clouds: what their arguments become, what they print, and errors of one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.recipes.glimpse_clouds import run as glimpse_clouds
from keras_actrec.recipes.glimpse_clouds import script as glimpse_script
from keras_actrec.recipes.glimpse_clouds.experiment import TASKS, GlimpseExperiment, embedded_default, glimpse_experiment
from keras_actrec.recipes.glimpse_clouds.script import experiment_from, glimpse_arguments, main
from keras_actrec.recipes.seeds import with_seed
from tests.recipes.scripts import (
    assert_ends_with_usage,
    assert_one_error,
    assert_prints_kinds,
    assert_prints_metrics,
    give,
    options_of_scripts,
    run_without_training,
)


def experiment(monkeypatch, *arguments, name: str = "ntu_rgbd", synthetic: bool = True) -> GlimpseExperiment:
    """What the script of a data set makes of its arguments."""
    give(monkeypatch, *arguments)
    return experiment_from(name, glimpse_arguments(name, "", synthetic=synthetic))


# Arguments --------------------------------------------------------------------------------------------------------------------


def test_no_arguments_give_the_synthetic_data(monkeypatch):
    assert experiment(monkeypatch) == embedded_default(Path("runs/ntu_rgbd_glimpse_clouds"))
    official = experiment(monkeypatch, "--preset", "glimpse_clouds_official", "--workdir", "w")
    assert official == embedded_default(Path("w"), preset="glimpse_clouds_official")


@pytest.mark.parametrize("preset", ["glimpse_clouds_paper", "glimpse_clouds_official", "global"])
@pytest.mark.parametrize("name", TASKS)
def test_a_data_root_gives_the_settings_of_the_paper(monkeypatch, name, preset):
    base = glimpse_experiment(name, Path(f"runs/{name}_glimpse_clouds"), preset=preset)
    assert experiment(monkeypatch, "--data-root", "d", "--preset", preset, name=name) == replace(base, data_root=Path("d"))


def test_every_argument_arrives(monkeypatch):
    made = experiment(
        monkeypatch, "--data-root", "d", "--workdir", "w", "--cache-dir", "c", "--protocol", "cross_view", "--preset",
        "table3_clouds", "--seed", 7, "--resume", "--retry-left-out", "--workers", 3, "--backbone-weights", "b.weights.h5",
        "--structure", "torchvision", "--frames", 6, "--views", 4, "--training-views", 3, "--image-size", 128,
        "--dtype", "bfloat16", "--crop-size", 144, "--margin", 0.3, "--box", "frame", "--pixel-size", 1920, 1080,
        "--layout", "lcrnet_13", "--train", "on_maps", "--initial", "i", "--epochs", 12, "--learning-rate", 0.002,
        "--batch-size", 24, "--holdout", 0.2, "--strategy", "none", "--freeze-backbone",
    )  # fmt: skip
    base = glimpse_experiment("ntu_rgbd", Path("w"), preset="table3_clouds")
    stage = {"epochs": 12, "learning_rate": 0.002, "batch_size": 24, "seed": 7}
    assert made == replace(
        base, data_root=Path("d"), cache_dir=Path("c"), protocol="cross_view", seed=7, resume=True, retry_left_out=True,
        workers=3, pixel_size=(1920, 1080), layout="lcrnet_13", train="on_maps", initial=Path("i"), holdout=0.2,
        strategy="none", training_views=3, freeze_backbone=True,
        global_stage=replace(base.global_stage, **stage), clouds_stage=replace(base.clouds_stage, **stage),
        clips=replace(base.clips, frames=6, image_size=128, views=4),
        crop=replace(base.crop, size=144, margin=0.3, box="frame"),
        backbone=replace(
            base.backbone, weights="b.weights.h5", structure="torchvision", frames=6, image_size=128, dtype="bfloat16"
        ),
    )  # fmt: skip


def test_arguments_go_over_the_synthetic_settings_too(monkeypatch):
    made = experiment(monkeypatch, "--frames", 4, "--epochs", 3, "--train", "end_to_end", "--margin", 0)
    base = embedded_default(Path("runs/ntu_rgbd_glimpse_clouds"))
    assert made == replace(
        base, train="end_to_end", crop=replace(base.crop, margin=0.0), clips=replace(base.clips, frames=4),
        backbone=replace(base.backbone, frames=4),
        global_stage=base.global_stage.with_epochs(3), clouds_stage=base.clouds_stage.with_epochs(3),
    )  # fmt: skip


def test_the_backbone_of_the_published_code_can_be_trained_on(monkeypatch):
    made = experiment(monkeypatch, "--data-root", "d", "--preset", "glimpse_clouds_official", "--no-freeze-backbone")
    assert not made.freeze_backbone


@pytest.mark.parametrize(
    "arguments",
    [
        ("--train", "head"), ("--box", "person"), ("--dtype", "float16"), ("--pixel-size", "1920"), ("--structure", "caffe"),
        ("--frames", "many"), ("--dataset", "nucla"),
    ],
)  # fmt: skip
def test_what_is_no_argument_ends_with_the_usage(monkeypatch, capsys, arguments):
    give(monkeypatch, "--data-root", "d", *arguments)
    assert_ends_with_usage(lambda: glimpse_arguments("nucla", "", synthetic=False), capsys, arguments[0])


def test_only_the_synthetic_data_need_no_data_root(monkeypatch, capsys):
    give(monkeypatch)
    assert_ends_with_usage(lambda: glimpse_arguments("nucla", "", synthetic=False), capsys, "required: --data-root")


# Runs -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """In place of the run: its data set, its experiment, and whether the kinds of classes were asked for."""
    made: list[tuple] = []
    monkeypatch.setattr(glimpse_clouds, "run_glimpse_experiment", run_without_training("glimpse_clouds", made))
    return made


def test_a_data_set_is_opened_and_its_metrics_are_printed(nucla_root, tmp_path, monkeypatch, capsys, calls):
    give(monkeypatch, "--data-root", nucla_root, "--workdir", tmp_path, "--epochs", 4)
    assert main("nucla", "") == 0
    ((dataset, made, kinds),) = calls
    assert (dataset.name, dataset.root, made.clouds_stage.epochs, kinds) == ("nucla", nucla_root, 4, False)
    assert_prints_metrics(capsys, tmp_path)


def test_the_synthetic_data_are_made_and_their_kinds_printed(tmp_path, monkeypatch, capsys, calls):
    synthetic = SimpleNamespace(metrics=("accuracy",))
    monkeypatch.setattr("keras_actrec.recipes.sta_hands.two_stream.open_synthetic", lambda caches, config, strategy: synthetic)
    give(monkeypatch, "--workdir", tmp_path, "--seed", 2)
    assert main("ntu_rgbd", "", synthetic=True) == 0
    ((dataset, made, kinds),) = calls
    assert dataset is synthetic and made == with_seed(embedded_default(tmp_path), 2) and kinds
    assert_prints_kinds(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "table5"), "no such preset of Glimpse Clouds (found 'table5', expected glimpse_clouds_paper"),
        (("--protocol", "fold1"), "unknown protocol (found 'fold1', expected one of view1, view2, view3)"),
        (("--holdout", "0"), "holdout is a share of the training clips (found 0.0"),
        (("--views", "0"), "RGBClipConfig: views is out of range (found 0"),
        (("--training-views", "0"), "training_views is out of range (found 0"),
        (("--crop-size", "200"), "the stored pictures are smaller than their crops (found 200, expected at least 224)"),
        (("--layout", "kinect"), "unknown layout (found 'kinect', expected one of None, kinect_v2"),
        (("--learning-rate", "0"), "stage global: learning_rate is out of range (found 0.0"),
        (("--initial", "gone"), "gone/metrics.json: no finished run of Glimpse Clouds to take weights from"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else "",
)
def test_errors_come_in_one_line_before_anything_is_written(nucla_root, tmp_path, monkeypatch, capsys, arguments, message):
    give(monkeypatch, "--data-root", nucla_root, "--workdir", tmp_path / "w", "--backbone-weights", "random", *arguments)
    assert_one_error(lambda: main("nucla", ""), capsys, message, tmp_path / "w")


def test_a_wrong_data_root_is_named(tmp_path, monkeypatch, capsys):
    give(monkeypatch, "--data-root", tmp_path / "no", "--workdir", tmp_path / "w", "--backbone-weights", "random")
    assert_one_error(lambda: main("nucla", ""), capsys, f"{tmp_path / 'no'}: ", tmp_path / "w")


# The scripts ------------------------------------------------------------------------------------------------------------------


def test_the_data_sets_of_the_paper_have_their_scripts(monkeypatch):
    found = options_of_scripts(monkeypatch, glimpse_script, "*_glimpse_clouds.py", "--data-root", "--initial")
    assert found == {"ntu_rgbd": {"synthetic": True}, "nucla": {}}
    assert set(found) == set(TASKS)
