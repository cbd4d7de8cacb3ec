"""The scripts of VPN: what their arguments become, what they print, and errors of one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.recipes.vpn import run as vpn
from keras_actrec.recipes.vpn import script as vpn_script
from keras_actrec.recipes.vpn.experiment import TASKS, VPNExperiment, embedded_default, vpn_experiment
from keras_actrec.recipes.vpn.script import experiment_from, main, vpn_arguments
from tests.recipes.scripts import (
    assert_ends_with_usage,
    assert_one_error,
    assert_prints_kinds,
    assert_prints_metrics,
    give,
    options_of_scripts,
    run_without_training,
)
from tests.recipes.tiny_vpn import NETWORK

SMARTHOME = ("smarthome", "smarthome_cross_view")


def experiment(monkeypatch, *arguments, name: str = "ntu_rgbd", synthetic: bool = True) -> VPNExperiment:
    """What the script of a data set makes of its arguments."""
    give(monkeypatch, *arguments)
    return experiment_from(name, vpn_arguments(name, "", synthetic=synthetic, datasets=()))


def real(monkeypatch, *arguments, name: str = "ntu_rgbd") -> VPNExperiment:
    return experiment(monkeypatch, "--data-root", "d", "--backbone-weights", "i3d.weights.h5", *arguments, name=name)


# Arguments --------------------------------------------------------------------------------------------------------------------


def test_no_arguments_give_the_synthetic_data(monkeypatch):
    assert experiment(monkeypatch) == embedded_default(Path("runs/ntu_rgbd_vpn"))
    official = experiment(monkeypatch, "--preset", "vpn_official", "--workdir", "w")
    assert official == embedded_default(Path("w"), preset="vpn_official")


@pytest.mark.parametrize("preset", ["vpn_paper", "vpn_official", "table1_l1"])
@pytest.mark.parametrize("name", TASKS)
def test_a_data_root_gives_the_settings_of_the_paper(monkeypatch, name, preset):
    base = vpn_experiment(name, Path(f"runs/{name}_vpn"), preset=preset)
    expected = replace(base, data_root=Path("d"), backbone=replace(base.backbone, weights="i3d.weights.h5"))
    assert real(monkeypatch, "--preset", preset, name=name) == expected


def test_every_argument_arrives(monkeypatch):
    made = real(
        monkeypatch, "--workdir", "w", "--cache-dir", "c", "--protocol", "cross_view", "--preset", "table2_l4", "--seed", 7,
        "--resume", "--retry-left-out", "--workers", 3, "--backbone", NETWORK, "--frames", 32, "--stride", 3, "--views", 5,
        "--image-size", 128, "--test-image-size", 160, "--dtype", "bfloat16", "--crop-size", 200, "--margin", 0.3,
        "--box", "frame", "--pixel-size", 1920, 1080, "--poses", 9, "--layout", "lcrnet_13", "--train", "on_maps",
        "--initial", "i", "--epochs", 12, "--optimizer", "adam", "--learning-rate", 0.002, "--batch-size", 24,
        "--holdout", 0.2, "--strategy", "none",
    )  # fmt: skip
    base = vpn_experiment("ntu_rgbd", Path("w"), preset="table2_l4")
    stage = {"epochs": 12, "optimizer": "adam", "learning_rate": 0.002, "batch_size": 24, "seed": 7}
    assert made == replace(
        base, data_root=Path("d"), cache_dir=Path("c"), protocol="cross_view", seed=7, resume=True, retry_left_out=True,
        workers=3, pixel_size=(1920, 1080), layout="lcrnet_13", train="on_maps", initial=Path("i"), holdout=0.2,
        strategy="none", test_image_size=160, stage=replace(base.stage, **stage),
        sampling=replace(base.sampling, frames=32, stride=3, views=5, poses=9),
        crop=replace(base.crop, size=200, margin=0.3, box="frame"),
        backbone=replace(
            base.backbone, name=NETWORK, weights="i3d.weights.h5", frames=32, image_size=128, dtype="bfloat16"
        ),
    )  # fmt: skip


def test_arguments_go_over_the_synthetic_settings_too(monkeypatch):
    made = experiment(monkeypatch, "--frames", 8, "--epochs", 3, "--train", "end_to_end", "--margin", 0)
    base = embedded_default(Path("runs/ntu_rgbd_vpn"))
    assert made == replace(
        base, train="end_to_end", stage=replace(base.stage, epochs=3), crop=replace(base.crop, margin=0.0),
        sampling=replace(base.sampling, frames=8), backbone=replace(base.backbone, frames=8),
    )  # fmt: skip


def test_one_script_for_two_data_sets_keeps_their_runs_apart(monkeypatch):
    found = []
    for arguments in ((), ("--dataset", "smarthome_cross_view"), ("--dataset", "smarthome_cross_view", "--workdir", "w")):
        give(monkeypatch, "--data-root", "d", *arguments)
        args = vpn_arguments("smarthome", "", synthetic=False, datasets=SMARTHOME)
        found.append((args.dataset, args.workdir))
    assert found == [
        ("smarthome", Path("runs/smarthome_vpn")), ("smarthome_cross_view", Path("runs/smarthome_cross_view_vpn")),
        ("smarthome_cross_view", Path("w")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("--train", "head"), ("--box", "person"), ("--dtype", "float16"), ("--pixel-size", "1920"), ("--optimizer", "rmsprop"),
        ("--frames", "many"), ("--dataset", "smarthome"),
    ],
)  # fmt: skip
def test_what_is_no_argument_ends_with_the_usage(monkeypatch, capsys, arguments):
    give(monkeypatch, "--data-root", "d", *arguments)
    assert_ends_with_usage(lambda: vpn_arguments("nucla", "", synthetic=False, datasets=()), capsys, arguments[0])


def test_only_the_synthetic_data_need_no_data_root(monkeypatch, capsys):
    give(monkeypatch)
    assert_ends_with_usage(lambda: vpn_arguments("nucla", "", synthetic=False, datasets=()), capsys, "required: --data-root")


# Runs -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """In place of the run: its data set, its experiment, and whether the kinds of classes were asked for."""
    made: list[tuple] = []
    monkeypatch.setattr(vpn, "run_vpn_experiment", run_without_training("vpn", made))
    return made


def test_a_data_set_is_opened_with_its_videos_and_its_metrics_are_printed(nucla_root, tmp_path, monkeypatch, capsys, calls):
    give(monkeypatch, "--data-root", nucla_root, "--workdir", tmp_path, "--backbone-weights", "random", "--epochs", 4)
    assert main("nucla", "") == 0
    ((dataset, made, kinds),) = calls
    assert (dataset.name, dataset.root, made.stage.epochs, kinds) == ("nucla", nucla_root, 4, False)
    assert_prints_metrics(capsys, tmp_path)


def test_the_synthetic_data_are_made_and_their_kinds_printed(vpn_data, tmp_path, monkeypatch, capsys, calls):
    monkeypatch.setattr("keras_actrec.recipes.sta_hands.two_stream.open_synthetic", lambda caches, config, strategy: vpn_data)
    give(monkeypatch, "--workdir", tmp_path)
    assert main("ntu_rgbd", "", synthetic=True) == 0
    ((dataset, made, kinds),) = calls
    assert dataset is vpn_data and made == embedded_default(tmp_path) and kinds
    assert_prints_kinds(capsys)


@pytest.mark.parametrize("dataset", SMARTHOME)
def test_the_chosen_data_set_is_opened(tmp_path, monkeypatch, calls, dataset):
    opened = []

    def open_dataset(name, root, *, video):
        opened.append((name, root, video))
        return SimpleNamespace(metrics=("mean_class_accuracy",))

    monkeypatch.setattr("keras_actrec.datasets.catalogue.open_dataset", open_dataset)
    give(monkeypatch, "--data-root", "d", "--backbone-weights", "random", "--dataset", dataset, "--workdir", tmp_path)
    assert main("smarthome", "", datasets=SMARTHOME) == 0
    assert opened == [(dataset, Path("d"), True)]
    assert calls[0][1].protocol == {"smarthome": "cross_subject", "smarthome_cross_view": "cross_view2"}[dataset]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the backbone needs weights: a random one cannot tell real actions apart (found no --backbone-weights)"),
        (("--preset", "table1_l4"), "no such preset of VPN (found 'table1_l4', expected vpn_paper"),
        (("--test-image-size", "200"), "test_image_size is smaller than the images that the network is trained on (found 200"),
        (("--protocol", "fold1"), "unknown protocol (found 'fold1', expected one of view1, view2, view3)"),
        (("--holdout", "0"), "holdout is a share of the training clips (found 0.0"),
        (("--views", "0"), "ClipSamplingConfig: views is out of range (found 0"),
        (("--margin", "-1"), "the margin of a person crop is a share, at least 0 (found -1.0)"),
        (("--layout", "kinect"), "unknown layout (found 'kinect', expected one of None, kinect_v2"),
        (("--backbone", "c3d"), "unknown backbone (found c3d, expected i3d, resnext101_3d or package.module:function)"),
        (("--backbone", "no.such:network"), "the backbone's module cannot be imported: No module named 'no' (found no.such"),
        (("--learning-rate", "0"), "stage vpn: learning_rate is out of range (found 0.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else "",
)
def test_errors_come_in_one_line_before_anything_is_written(nucla_root, tmp_path, monkeypatch, capsys, arguments, message):
    weights = ("--backbone-weights", "random") if arguments else ()
    give(monkeypatch, "--data-root", nucla_root, "--workdir", tmp_path / "w", *weights, *arguments)
    assert_one_error(lambda: main("nucla", ""), capsys, message, tmp_path / "w")


def test_missing_weights_name_the_ways_out(nucla_root, monkeypatch, capsys):
    give(monkeypatch, "--data-root", nucla_root)
    assert main("nucla", "") == 1
    error = capsys.readouterr().err
    assert "preprocessing/convert_i3d_checkpoint.py" in error and "--backbone-weights random" in error


def test_a_wrong_data_root_is_named(tmp_path, monkeypatch, capsys):
    give(monkeypatch, "--data-root", tmp_path / "no", "--workdir", tmp_path / "w", "--backbone-weights", "random")
    assert_one_error(lambda: main("nucla", ""), capsys, f"{tmp_path / 'no'}: ", tmp_path / "w")


# The scripts ------------------------------------------------------------------------------------------------------------------


def test_the_data_sets_of_the_paper_have_their_scripts(monkeypatch):
    found = options_of_scripts(monkeypatch, vpn_script, "*_vpn.py", "--data-root", "--backbone-weights")
    assert found == {"ntu_rgbd": {"synthetic": True}, "ntu_rgbd_120": {}, "smarthome": {"datasets": SMARTHOME}, "nucla": {}}
    assert {*found, *SMARTHOME} == set(TASKS)
