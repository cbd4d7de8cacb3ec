"""What is kept of each network's attention, against plain numpy on its outputs; means by clip and class; the file."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.training.attention import (
    GLIMPSE_GRID,
    ClassAttention,
    attention_by_class,
    attention_summaries,
    joined,
    load_attention,
    save_attention,
)
from keras_actrec.training.evaluation import evaluate
from tests.training.tiny import CLASSES, FRAMES, POSE, MemorySource

RNG = np.random.default_rng(0)


def as_model(name: str, **outputs: np.ndarray) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A model whose outputs are its inputs, and what they are."""
    inputs = {key: keras.Input(array.shape[1:], name=key) for key, array in outputs.items()}
    return keras.Model(inputs, {key: keras.layers.Identity()(tensor) for key, tensor in inputs.items()}, name=name), outputs


def summaries(model: keras.Model, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    made = keras.Model(model.input, attention_summaries(model))(outputs)
    return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in made.items()}


def shares(*shape: int, axes: tuple[int, ...]) -> np.ndarray:
    values = RNG.uniform(0.1, 1, shape)
    return (values / values.sum(axis=axes, keepdims=True)).astype(np.float32)


def test_two_streams():
    hands, time = shares(2, 5, 4, axes=(2,)), shares(2, 5, axes=(1,))
    found = summaries(*as_model("sta_hands", logits=hands[:, 0], spatial_attention=hands, temporal_attention=time))
    assert set(found) == {"hands", "time"}
    np.testing.assert_array_equal(found["hands"], hands)
    np.testing.assert_array_equal(found["time"], time)


def test_vpn_without_attention_over_time():
    places = RNG.uniform(size=(2, 3, 4)).astype(np.float32)
    found = summaries(*as_model("vpn", scores=places[:, 0], spatial_attention=places, attention=places))
    assert set(found) == {"places"}
    np.testing.assert_array_equal(found["places"], places)


def test_glimpses_are_counted_where_their_middles_are():
    glimpses = np.zeros((2, 2, 3, 4), np.float32)
    # Clip 0: all in the middle of the cell of column 7, row 2; their sizes do not count. Clip 1: halfway between columns 0 and
    # 1 of the first row, where half of each counts, but for one beyond the lower right corner.
    glimpses[0, ..., 0], glimpses[0, ..., 1] = (7.5 / GLIMPSE_GRID) * 2 - 1, (2.5 / GLIMPSE_GRID) * 2 - 1
    glimpses[1, ..., 0], glimpses[1, ..., 1] = (1 / GLIMPSE_GRID) * 2 - 1, -1
    glimpses[1, 1, 2, :2] = 1.7
    glimpses[..., 2:] = 0.3
    assignment = shares(2, 2, 3, 3, axes=(3,))
    clip = np.zeros((2, 3), np.float32)  # the name of its input is also that of a function of Keras
    found = summaries(*as_model("glimpse_clouds", glimpses=glimpses, assignment=assignment, clip=clip))
    expected = np.zeros((2, GLIMPSE_GRID, GLIMPSE_GRID))
    expected[0, 2, 7] = 1
    expected[1, 0, :2], expected[1, -1, -1] = 5 / 12, 1 / 6
    np.testing.assert_allclose(found["places"], expected, atol=1e-5)
    np.testing.assert_allclose(found["workers"], assignment.mean(axis=1), rtol=1e-5)


def test_joints_of_rpan():
    maps = shares(2, 3, 4, 5, 6, axes=(3, 4))  # 3 steps, 4 joints, maps of 5×6
    found = summaries(*as_model("rpan", attention=maps))
    np.testing.assert_allclose(found["places"], maps.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["joints"], maps.reshape(2, 3, 4, -1).max(axis=-1).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["vpn", "something_else"])
def test_a_model_without_attention_has_none(name):
    model, _ = as_model(name, logits=np.zeros((1, 3), np.float32))
    assert attention_summaries(model) == {}


# In the test ------------------------------------------------------------------------------------------------------------------


class OtherWayRound(MemorySource):
    """The second row of a clip is another view of it."""

    plain_rows = 1


def looking_model() -> keras.Model:
    """Weighs the steps by the pose's first column."""
    pose = keras.Input((FRAMES, POSE), name="pose")
    time = keras.layers.Softmax()(pose[:, :, 0])
    logits = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(pose))
    return keras.Model({"pose": pose}, {"logits": logits, "temporal_attention": time}, name="sta_hands")


@pytest.mark.parametrize(("source", "rows"), [(MemorySource(), 2), (OtherWayRound(), 1)])
@pytest.mark.parametrize("batch_rows", [4, 6])  # without padding, with
def test_attention_of_a_clip_is_the_mean_of_its_plain_rows(source, rows, batch_rows):
    model, clips = looking_model(), source.clip_ids[2:6]
    evaluation = evaluate(model, source, clips, batch_rows=batch_rows)
    outputs = model(source.select(("pose",)).test_batch(clips)[0])
    expected = keras.ops.convert_to_numpy(outputs["temporal_attention"]).reshape(4, 2, FRAMES)[:, :rows].mean(axis=1)
    np.testing.assert_allclose(evaluation.attention["time"], expected, rtol=1e-5)
    assert evaluation.attention["time"].dtype == np.float32 and list(evaluation.scores) == ["fused"]


# By class ---------------------------------------------------------------------------------------------------------------------


def by_hand() -> ClassAttention:
    rows = np.float32([[0.5, 0.5], [0.25, 0.75], [1, 0]])
    return attention_by_class({"time": rows}, np.int32([2, 2, 0]), 3)


def test_mean_of_the_clips_of_a_class():
    found = by_hand()
    assert found.clips.tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.values["time"], [[1, 0], [np.nan, np.nan], [0.375, 0.625]])


def test_folds_count_by_their_clips():
    other = ClassAttention(np.array([3, 2, 0]), {"time": np.float32([[0, 1], [0.5, 0.5], [np.nan, np.nan]])})
    found = joined([by_hand(), other])
    assert found.clips.tolist() == [4, 2, 2]
    np.testing.assert_allclose(found.values["time"], [[0.25, 0.75], [0.5, 0.5], [0.375, 0.625]])
    longer = ClassAttention(other.clips, {"time": np.zeros((3, 5), np.float32)})
    assert joined([by_hand(), longer]).values == {}


def test_it_survives_a_file(tmp_path):
    save_attention(tmp_path / "attention.npz", by_hand())
    loaded = load_attention(tmp_path / "attention.npz")
    np.testing.assert_array_equal(loaded.clips, by_hand().clips)
    np.testing.assert_array_equal(loaded.values["time"], by_hand().values["time"])
    assert [path.name for path in tmp_path.iterdir()] == ["attention.npz"]


# What is refused --------------------------------------------------------------------------------------------------------------


def test_a_damaged_file(tmp_path):
    (tmp_path / "attention.npz").write_bytes(b"PK nothing")
    with pytest.raises(WeightsError, match=r"attention.npz: cannot be read as attention .*Run the test again"):
        load_attention(tmp_path / "attention.npz")
    np.savez(tmp_path / "attention.npz", clips=np.arange(3), time=np.zeros((2, 4)))
    with pytest.raises(WeightsError, match=r"without a row per class \(found time of shape \(2, 4\), expected \(3, …\)\)"):
        load_attention(tmp_path / "attention.npz")


def test_rows_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"attention without a row per clip \(found time: 3, expected 2\)"):
        attention_by_class({"time": np.zeros((3, 4), np.float32)}, np.int32([0, 1]), 2)
    with pytest.raises(ConfigError, match=r"different classes cannot be joined \(found \[3, 2\]"):
        joined([by_hand(), replace(by_hand(), clips=np.array([1, 1]), values={})])
