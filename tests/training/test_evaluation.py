"""One pass, averaged over sub-sequences, for every stream that a model has; score files."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.training.evaluation import Evaluation, evaluate, load_scores, save_scores
from tests.training.tiny import MemorySource, tiny_attention_model, tiny_model


@pytest.mark.parametrize("batch_rows", [2, 6, 1000])  # 1, 3 and 500 clips per batch: without padding, with, and all of it
def test_scores_are_logits_averaged_over_sub_sequences(batch_rows):
    model, *_ = tiny_model()
    source = MemorySource()
    clips = source.clip_ids[3:10]
    evaluation = evaluate(model, source, clips, batch_rows=batch_rows)
    assert evaluation.clip_ids == clips and evaluation.subsequences == 2
    assert evaluation.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    outputs = model(source.test_batch(clips)[0], training=False)
    for stream, name in {"pose": "pose_logits", "rgb": "rgb_logits", "fused": "logits"}.items():
        expected = np.array(keras.ops.convert_to_numpy(outputs[name])).reshape(7, 2, 3).mean(axis=1)
        np.testing.assert_allclose(evaluation.scores[stream], expected, rtol=1e-4, atol=1e-6)
    assert list(evaluation.accuracy) == ["pose", "rgb", "fused"]


@pytest.mark.parametrize("batch_rows", [2, 6])  # without padding, with
def test_softmax_scores_pooled_by_the_maximum(batch_rows):
    model, source = tiny_attention_model(), MemorySource()
    clips = source.clip_ids[3:10]
    evaluation = evaluate(model, source, clips, streams={"vpn": "scores"}, batch_rows=batch_rows, pooling="max")
    assert evaluation.pooling == "max" and list(evaluation.scores) == ["vpn"]
    rows = keras.ops.convert_to_numpy(model(source.test_batch(clips)[0], training=False)["scores"]).reshape(7, 2, 3)
    np.testing.assert_allclose(rows.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(evaluation.scores["vpn"], np.maximum(rows[:, 0], rows[:, 1]), rtol=1e-4, atol=1e-6)
    assert evaluation.scores["vpn"].dtype == np.float32


def test_unknown_pooling():
    with pytest.raises(ConfigError, match=r"unknown pooling .*found 'median', expected one of mean, max"):
        evaluate(tiny_model()[0], MemorySource(), ("c00",), pooling="median")


def test_every_batch_goes_through_the_model_once():
    class Counted(MemorySource):
        rows = 0

        def test_batch(self, clip_ids):
            Counted.rows += len(clip_ids)
            return super().test_batch(clip_ids)

    evaluate(tiny_model()[0], Counted(), MemorySource().clip_ids[:12], batch_rows=8)
    assert Counted.rows == 12


def test_a_model_with_one_stream_is_scored_once():
    pose = keras.Input((4, 6), name="pose")
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(pose))
    model = keras.Model({"pose": pose}, {"pose_logits": logits, "logits": logits, "pose_features": pose})
    evaluation = evaluate(model, MemorySource(), ("c00", "c01"))
    assert list(evaluation.scores) == ["pose"]


def test_a_model_without_logits_is_refused():
    pose = keras.Input((4, 6), name="pose")
    with pytest.raises(ConfigError, match=r"no output to score \(found features, expected one of pose_logits"):
        evaluate(keras.Model({"pose": pose}, {"features": keras.layers.Flatten()(pose)}), MemorySource(), ("c00",))


def example() -> Evaluation:
    scores = np.float32([[2, 1, 0], [0, 1, 0], [0, 3, 1], [1, 0, 5]])
    return Evaluation(("a", "b", "ç", "d"), np.int32([0, 1, 2, 2]), {"fused": scores}, 10)


def test_numbers_follow_from_the_scores():
    evaluation = example()
    assert evaluation.predictions("fused").tolist() == [0, 1, 1, 2]
    assert evaluation.accuracy == {"fused": 0.75}
    np.testing.assert_array_equal(evaluation.confusion_matrix("fused"), [[1, 0, 0], [0, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(evaluation.per_class_accuracy("fused"), [1, 1, 0.5])
    assert evaluation.mean_class_accuracy["fused"] == pytest.approx(2.5 / 3)
    assert evaluation.macro_f1["fused"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_scores_survive_a_file(tmp_path):
    save_scores(tmp_path / "scores.npz", example())
    loaded = load_scores(tmp_path / "scores.npz")
    assert loaded.clip_ids == example().clip_ids and loaded.subsequences == 10 and loaded.pooling == "mean"
    np.testing.assert_array_equal(loaded.labels, example().labels)
    np.testing.assert_array_equal(loaded.scores["fused"], example().scores["fused"])
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as file:  # raises for anything that needs pickle
        assert {file[name].dtype.kind for name in file.files} == {"U", "i", "f"}


def test_pooling_survives_a_file(tmp_path):
    save_scores(tmp_path / "scores.npz", replace(example(), pooling="max"))
    assert load_scores(tmp_path / "scores.npz").pooling == "max"


def test_a_score_file_of_an_earlier_version_is_of_means(tmp_path):
    save_scores(tmp_path / "scores.npz", replace(example(), pooling="max"))
    with np.load(tmp_path / "scores.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "pooling"}
    np.savez(tmp_path / "old.npz", **arrays)
    assert len(arrays) == 4 and load_scores(tmp_path / "old.npz").pooling == "mean"


def test_a_damaged_score_file(tmp_path):
    (tmp_path / "scores.npz").write_bytes(b"PK nothing")
    with pytest.raises(WeightsError, match=r"scores.npz: cannot be read as scores .*again"):
        load_scores(tmp_path / "scores.npz")


def test_scores_that_do_not_fit_the_clips():
    with pytest.raises(ConfigError, match="stream rgb do not fit"):
        Evaluation(("a",), np.int32([0]), {"rgb": np.zeros((2, 3), np.float32)}, 1)
