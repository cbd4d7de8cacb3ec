"""What runs of all video networks share: a backbone whose weights cannot be had, maps of another one, what decides a result."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.datasets.record import LeftOut, Split
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.recipes.video.experiment import VideoExperiment
from keras_actrec.recipes.video.run import VideoRun, available_backbone, begin_run, check_same_backbone, with_checksum

IMAGENET = InflatedResNetConfig(weights="imagenet", frames=2, image_size=32)
SPLIT = Split(("a", "b"), ("c",))


def dataset(*left_out: LeftOut):
    """As much of a data set as a run asks for."""
    records = tuple(SimpleNamespace(clip_id=clip, label=label) for label, clip in enumerate("abc"))
    return SimpleNamespace(
        records=records, left_out=left_out, protocols=lambda: {"cross_subject": SPLIT}, count_mismatches=tuple
    )  # fmt: skip


def run_of(workdir: Path = Path("w"), **fields) -> VideoRun[VideoExperiment]:
    experiment = VideoExperiment(workdir, "any", strategy="none", **fields)
    return VideoRun(dataset(), experiment, SPLIT, tf.distribute.get_strategy(), 0.0)


# The beginning ----------------------------------------------------------------------------------------------------------------


def test_a_run_begins_without_writing_anything(tmp_path):
    experiment, clips = VideoExperiment(tmp_path / "run", "any", strategy="none"), dataset()
    run = begin_run(clips, experiment)
    assert (run.dataset, run.experiment, run.split) == (clips, experiment, SPLIT)
    assert run.strategy.num_replicas_in_sync == 1 and run.started > 0
    assert (run.labels, run.poses) == ({"a": 0, "b": 1, "c": 2}, tmp_path / "run" / "cache" / "poses")
    assert not experiment.workdir.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"protocol": "view3"}, r"unknown protocol \(found 'view3'"), ({"strategy": "multi"}, r"multi")],
    ids=["protocol", "strategy"],
)
def test_what_no_run_begins_with(tmp_path, fields, message):
    with pytest.raises(ConfigError, match=message):
        begin_run(dataset(), VideoExperiment(tmp_path, "any", **{"strategy": "none", **fields}))


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_of_gpus_is_shared_with_several_workers_before_the_strategy_takes_it(monkeypatch, workers):
    done = []
    monkeypatch.setattr("keras_actrec.recipes.video.run.share_gpus", lambda: done.append("shared"))
    monkeypatch.setattr("keras_actrec.recipes.video.run.build_strategy", lambda name: done.append(name))
    begin_run(dataset(), VideoExperiment(Path("w"), "any", workers=workers))
    assert done == ["shared"] * (workers > 1) + ["mirrored"]


# Backbones --------------------------------------------------------------------------------------------------------------------


def build(config: InflatedResNetConfig) -> str:
    """In place of a model, the weights that it would have."""
    if config.weights != "random":
        raise WeightsError(f"no {config.weights}")
    return config.weights


def test_the_synthetic_data_alone_go_on_with_random_weights():
    def caller() -> tuple[InflatedResNetConfig, str]:  # a run, with the function of the recipe that builds its backbone
        def run_experiment():
            def build_backbone():
                return available_backbone(IMAGENET, build, synthetic=True)

            return build_backbone()

        return run_experiment()

    with pytest.warns(UserWarning, match="RANDOM backbone weights, which say nothing about real data: no imagenet") as warned:
        config, model = caller()
    assert (config, model) == (InflatedResNetConfig(weights="random", frames=2, image_size=32), "random")
    lines, start = inspect.getsourcelines(caller)
    assert warned[0].filename == __file__ and start <= warned[0].lineno < start + len(lines), "the run is what is named"
    assert warned[0].lineno == start + lines.index("        return run_experiment()\n")


@pytest.mark.parametrize(
    ("weights", "synthetic"), [("imagenet", False), ("mine.h5", True)], ids=["real data", "a file of one's own"]
)
def test_elsewhere_weights_that_cannot_be_had_end_the_run(weights, synthetic):
    config = InflatedResNetConfig(weights=weights, frames=2, image_size=32)
    with pytest.raises(WeightsError, match=f"no {weights}"):
        available_backbone(config, build, synthetic=synthetic)


def test_maps_of_other_weights_are_refused(monkeypatch):
    index = SimpleNamespace(options=SimpleNamespace(weights_checksum="0123456789abcdef"))
    monkeypatch.setattr("keras_actrec.recipes.video.run.load_index", lambda folder: index)
    check_same_backbone(Path("maps"), "0123456789abcdef", problem="", fix="")
    with pytest.raises(WeightsError) as error:
        check_same_backbone(Path("maps"), "fedcba9876543210", problem="other weights", fix="try again")
    assert str(error.value) == "maps: other weights (found 0123456789ab, expected fedcba987654). Try again"


def test_a_backbone_goes_by_its_checksum():
    found = with_checksum(IMAGENET, "12")
    assert found.pop("weights_checksum") == "12" and InflatedResNetConfig(**found) == IMAGENET


# What decides the result ------------------------------------------------------------------------------------------------------


def test_decisive_settings_are_flat_and_have_the_seed():
    found = run_of(seed=5).decisive({"model": {"sizes": (4, 8), "name": None}, "train": "on_maps"})
    assert found["experiment_seed"] == 5 and found["train"] == "on_maps"
    assert found["model.name"] is None and found["model.sizes"] == [4, 8], "as JSON has them"


def test_left_out_clips_are_those_of_the_files_and_of_the_extractions():
    first, second, third = (LeftOut(clip, stage, "bad", "f") for clip, stage in (("d", "index"), ("e", "poses"), ("f", "maps")))
    run = VideoRun(dataset(first), run_of().experiment, SPLIT, tf.distribute.get_strategy(), 0.0)
    reports = [SimpleNamespace(left_out=(second,)), SimpleNamespace(left_out=(third,))]
    assert run.left_out(reports) == (first, second, third)
