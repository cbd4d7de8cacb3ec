"""The extractions: arguments reach the caches, exit statuses, and the scripts that are the same commands by other names."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from keras_actrec.cache.flow import FlowCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cli.extract import COMMANDS
from keras_actrec.cli.main import main, parse
from tests.extraction.small import clip_name, write_clip

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "extract_poses": "poses", "extract_hand_features": "hands", "extract_person_clips": "person-clips",
    "extract_clip_maps": "clip-maps", "extract_glimpse_maps": "glimpse-maps", "extract_frame_cubes": "frame-cubes",
    "extract_flow": "flow", "rescale_videos": "rescale", "verify_cache": "verify",
}  # fmt: skip


def test_every_command_has_a_script_that_defines_nothing_itself():
    assert sorted(SCRIPTS.values()) == sorted(COMMANDS)
    for script, name in SCRIPTS.items():
        text = (REPOSITORY / "preprocessing" / f"{script}.py").read_text(encoding="utf-8")
        module = COMMANDS[name][0].rpartition(".")[2]
        assert f"`keras-actrec extract {name}`" in text and f"sys.exit(script({module}))" in text
        assert "add_argument" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_says_what_it_is(name):
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    assert len(parser._actions) > 2
    for action in parser._actions:
        assert action.help and len(action.help) > 7, action.dest


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"verify"}))
def test_what_has_to_be_given(name, capsys):
    assert main(["extract", name]) == 2
    required = {"rescale": "--source, --target", "clip-maps": "--clips, --cache, --backbone-weights"}.get(name, "--cache")
    assert required in capsys.readouterr().err


def test_poses_and_then_flow(tmp_path, capsys):
    write_clip(tmp_path / "ntu", 1, length=6, video_length=8)
    place = ["--data-root", str(tmp_path / "ntu"), "--no-progress"]
    poses, flow = str(tmp_path / "poses"), str(tmp_path / "flow")
    assert main(["extract", "poses", *place, "--cache", poses, "--frames", "5", "--scale", "body"]) == 0
    assert "1 clips written" in capsys.readouterr().out
    with PoseCache(poses) as cache:
        assert list(cache.clip_ids) == [clip_name(1)]
        assert cache.test_frames([clip_name(1)]).shape == (1, 10, 5)
        assert cache.options.options["tensor"]["scale"] == "body"
    arguments = ["extract", "flow", "--dataset", "ntu_rgbd", *place, "--poses", poses, "--cache", flow, "--height", "32"]
    assert main([*arguments, "--width", "48"]) == 0
    with FlowCache(flow) as cache:
        assert cache.flow_config.picture_size == (32, 48) and dict(cache.lengths) == {clip_name(1): 6}
    assert main(arguments) == 1
    assert "error: " in (text := capsys.readouterr().err) and "found" in text and "expected" in text


def test_a_damaged_cache_is_told_and_repaired(tmp_path, capsys):
    write_clip(tmp_path / "ntu", 1)
    poses = str(tmp_path / "poses")
    assert main(["extract", "poses", "--data-root", str(tmp_path / "ntu"), "--cache", poses]) == 0
    assert main(["extract", "verify", poses]) == 0
    shard = tmp_path / "poses" / "poses-00000.h5"
    shard.write_bytes(b"damaged")
    assert main(["extract", "verify", str(tmp_path / "nothing"), poses]) == 1
    captured = capsys.readouterr()
    assert "nothing" in captured.err and shard.name in captured.out
    assert main(["extract", "verify", "--repair", poses]) == 1
    assert f"deleted {shard}" in capsys.readouterr().out and not shard.exists()


def test_a_broken_video_is_an_exit_status(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "junk.avi").write_bytes(b"junk")
    assert main(["extract", "rescale", "--source", str(tmp_path / "in"), "--target", str(tmp_path / "out")]) == 1
    assert "junk.avi" in capsys.readouterr().out


def test_defaults_are_those_of_the_functions():
    words = ["--data-root", "x", "--poses", "p", "--cache", "c"]
    args = parse(importlib.import_module(COMMANDS["hands"][0]), words)
    assert (args.sensor, args.image_size, args.crop_size, args.batch_size, args.workers) == ("inception_v3", 299, 50, 64, None)
