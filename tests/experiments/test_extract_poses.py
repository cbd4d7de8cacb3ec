"""The script that writes pose caches: its options, and that the caches are those which the pose scripts would make."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace

import pytest

from keras_actrec.cache.reader import PoseCache
from keras_actrec.cli.extraction import poses
from keras_actrec.cli.main import parse
from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.recipes.sta_hands.pose import PAPER, SETTINGS, TUNED, pose_experiment, task_of
from keras_actrec.recipes.sta_hands.run import prepare_source
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig
from tests.datasets.test_catalogue import ROOTS
from tests.experiments.test_scripts import REPOSITORY, run

SCRIPT = REPOSITORY / "preprocessing" / "extract_poses.py"
OF_TUNED = ("--order", "no_repeats", "--scale", "body")


def documented() -> dict[tuple[str, str], tuple[str, ...]]:
    """(Data set, preset) → options, from the table in the script's help."""
    options = {}
    lines = poses.HELP.splitlines()
    (head,) = [index for index, line in enumerate(lines) if line.lstrip().startswith("data set ")]
    first, second = lines[head].index("--preset paper"), lines[head].index("--preset tuned")
    for line in lines[head + 1 :]:
        for name in re.findall(r"\w+", line[:first]):
            options[name, PAPER] = tuple(line[first:second].split())
            options[name, TUNED] = (*OF_TUNED, *line[second:].split())
    return options


def arguments(*words) -> argparse.Namespace:
    """What the command makes of its arguments."""
    return parse(poses, ["--data-root", "x", "--cache", "y", *map(str, words)])


def test_the_help_says_it_of_every_data_set():
    assert set(documented()) == {(name, settings) for name in DATASETS for settings in SETTINGS}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", DATASETS)
def test_the_options_in_the_help_are_those_of_the_pose_scripts(name, settings, tmp_path):
    task = task_of(name, open_dataset(name, ROOTS[name](tmp_path), video=False))
    experiment = pose_experiment(task, settings, tmp_path)
    args = arguments(*documented()[name, settings])
    assert poses.tensor_from(args) == experiment.tensor
    assert args.layout == experiment.layout
    sampling = SamplingConfig(args.frames, args.sampling, args.subsequences, args.sampling_seed)
    assert sampling == experiment.sampling


def test_every_option_of_the_pose_tensors_arrives():
    args = arguments("--order", "random", "--order-seed", 3, "--center", "per_person", "--people", 1, "--scale", "body")
    expected = PoseTensorConfig(order="random", order_seed=3, center="per_person", people=1, scale="body")
    assert poses.tensor_from(args) == expected
    args = arguments()
    assert poses.tensor_from(args) == PoseTensorConfig() and args.layout is None


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_recipe_goes_on_with_a_cache_from_the_command_line(settings, tmp_path):
    root, cache = ROOTS["penn_action"](tmp_path / "penn"), tmp_path / "cache"
    options = documented()["penn_action", settings]
    done = run(SCRIPT, "--dataset", "penn_action", "--data-root", root, "--cache", cache / "poses", *options)
    assert done.returncode == 0, done.stderr
    (shard,) = (cache / "poses").glob("*.h5")
    before = shard.stat().st_mtime_ns
    dataset = open_dataset("penn_action", root, video=False)
    experiment = pose_experiment(task_of("penn_action", dataset), settings, tmp_path / "run")
    source, left_out = prepare_source(dataset, replace(experiment, cache_dir=cache))  # CacheError where an option differs
    assert list(source.clip_ids) == [record.clip_id for record in dataset.records] and not left_out
    assert shard.stat().st_mtime_ns == before
    with PoseCache(cache / "poses") as written:
        assert written.options.layout == "jhmdb_15"


@pytest.mark.parametrize(
    ("option", "value"), [("--layout", "kinect_v3"), ("--people", "3"), ("--people", "two"), ("--scale", "metres")]
)
def test_values_that_are_not_known(option, value):
    done = run(SCRIPT, "--data-root", "x", "--cache", "y", option, value)
    assert done.returncode == 2 and f"argument {option}: invalid" in done.stderr
