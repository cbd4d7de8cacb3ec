"""Both stages of STA-Hands on real cache files: frozen pose network, evaluation of all streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.models.sta_hands import (
    STAHandsConfig,
    freeze_pose_network,
    pose_network_layers,
    pose_stream,
    preset,
    rgb_stream,
    sta_hands,
)
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig
from keras_actrec.training.checkpoints import arrays_of
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import evaluate
from keras_actrec.training.holdout import hold_out
from keras_actrec.training.stages import run_stage
from tests.pipelines.caches import write_feature_cache, write_pose_cache

SMALL = {
    "pose_filters": (2, 3),
    "pose_features": 8,
    "lstm_units": 8,
    "spatial_attention_units": 4,
    "temporal_attention_units": 4,
    "temporal_features": 6,
}
LENGTHS = {f"c{i:02d}": 20 + i for i in range(12)}
LABELS = {clip: i % 2 for i, clip in enumerate(LENGTHS)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder, sampling = tmp_path_factory.mktemp("caches"), SamplingConfig(subsequences=2)
    poses, hands = write_pose_cache(folder / "poses", LENGTHS, sampling), write_feature_cache(folder / "hands", LENGTHS)
    return SubsequenceSource(poses, hands, LABELS, PoseTensorConfig(), sampling)


def test_two_stages_freeze_the_pose_network_and_all_streams_are_tested(source, tmp_path):
    model = sta_hands(STAHandsConfig(classes=2, **SMALL))
    train, held_out = hold_out(source.clip_ids, source.label)
    before = arrays_of(model.weights)

    run_stage(model, pose_stream(model), source, train, held_out, StageConfig("pose", batch_size=4, epochs=1), tmp_path)
    pose_weights = [weight for layer in pose_network_layers(model) for weight in layer.weights]
    trained = arrays_of(pose_weights)
    for weight, old in zip(model.weights, before, strict=True):
        moved = not np.array_equal(arrays_of([weight])[0], old)
        assert moved == any(weight is other for other in pose_weights), weight.path

    freeze_pose_network(model)
    before = arrays_of(model.weights)
    run_stage(model, rgb_stream(model), source, train, held_out, StageConfig("rgb", batch_size=4, epochs=2), tmp_path)
    for weight, old in zip(arrays_of(pose_weights), trained, strict=True):
        np.testing.assert_array_equal(weight, old)
    moved = [not np.array_equal(new, old) for new, old in zip(arrays_of(model.weights), before, strict=True)]
    assert sum(moved) >= len(moved) - len(pose_weights) - 2  # biases before a softmax may have no gradient

    evaluation = evaluate(model, source, source.clip_ids, batch_rows=6)
    assert list(evaluation.accuracy) == ["pose", "rgb", "fused"]
    np.testing.assert_allclose(
        evaluation.scores["fused"], evaluation.scores["pose"] + evaluation.scores["rgb"], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(("name", "streams"), [("table6_a", ["pose"]), ("table6_b", ["rgb"]), ("table6_e", ["rgb"])])
def test_variants_with_one_stream_are_scored_once(source, name, streams):
    model = sta_hands(replace(preset(name, classes=2), **SMALL))
    assert list(evaluate(model, source, source.clip_ids[:3]).scores) == streams
