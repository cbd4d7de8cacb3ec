"""Losses of one output, against plain numpy."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from keras_actrec.training.losses import BatchSumToOne, MeanValue, SquaredShortfall, SquaredSum, SquaredValue

DISTANCE = np.float32([0.5, 2.0, 0.0])
MAPS = np.random.default_rng(0).random((3, 2, 4)).astype(np.float32)
WEIGHTS = np.float32([1.5, 0.0, 1.5])

CASES = [
    (MeanValue, DISTANCE, [0.5, 2, 0]),
    (MeanValue, MAPS, MAPS.mean(axis=(1, 2))),
    (SquaredValue, DISTANCE, [0.25, 4, 0]),
    (SquaredValue, MAPS, (MAPS**2).mean(axis=(1, 2))),
    (SquaredSum, MAPS, [np.linalg.norm(part) ** 2 for part in MAPS]),
    (SquaredShortfall, MAPS, [sum((1 - value) ** 2 for value in part.ravel()) for part in MAPS]),
    (SquaredShortfall, DISTANCE, [0.25, 1, 1]),
    (BatchSumToOne, MAPS, [(1 - MAPS.sum()) ** 2] * 3),
]


@pytest.mark.parametrize(("loss_class", "output", "rows"), CASES)
def test_one_value_per_row_and_their_weighted_mean(loss_class, output, rows):
    loss, zeros = loss_class(), np.zeros(3, np.float32)
    values = keras.ops.convert_to_numpy(loss.call(zeros, keras.ops.convert_to_tensor(output)))
    assert values.shape == (3,)
    np.testing.assert_allclose(values, rows, rtol=1e-5)
    assert float(loss(zeros, output)) == pytest.approx(np.mean(rows), rel=1e-5)
    # Weight 0 is for padding, those of the others are 3 rows / 2 real rows: the mean over the real rows.
    assert float(loss(zeros, output, sample_weight=WEIGHTS)) == pytest.approx((rows[0] + rows[2]) / 2, rel=1e-5)


def test_the_temporal_part_of_equation_6_is_0_where_every_time_counts_fully():
    assert float(SquaredShortfall()(np.zeros(2), np.ones((2, 8), np.float32))) == 0
    # A softmax spread evenly over 8 times: 8 · (7/8)².
    assert float(SquaredShortfall()(np.zeros(2), np.full((2, 8), 1 / 8, np.float32))) == pytest.approx(49 / 8)


@pytest.mark.parametrize("loss_class", [MeanValue, SquaredValue, SquaredSum, SquaredShortfall, BatchSumToOne])
def test_losses_are_the_same_after_saving(loss_class):
    saved = json.loads(json.dumps(keras.losses.serialize(loss_class())))
    assert saved["registered_name"] == f"keras_actrec>{loss_class.__name__}"
    loaded = keras.losses.deserialize(saved)
    assert type(loaded) is loss_class and loaded.get_config() == loss_class().get_config()
    assert float(loaded(np.zeros(3), MAPS)) == float(loss_class()(np.zeros(3), MAPS))
