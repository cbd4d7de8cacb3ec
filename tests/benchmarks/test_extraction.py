"""The benchmark of extraction: what its seconds mean, cosines by hand, the data that it makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from suite.extraction import Extraction, Work, cosine, figures_of, make_data

from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.ntu import NTURGBD

WORK = Work(clips=2, frames=5, batch_size=10, repetitions=1)


def extraction(features):
    return Extraction(lambda: None, lambda: None, np.array(features, np.float32), 1.5)


def test_cosines_by_hand():
    found = cosine(np.array([[1.0, 0], [3, 4], [2, 0]]), np.array([[1.0, 1], [3, 4], [-1, 0]]))
    np.testing.assert_allclose(found, [math.sqrt(0.5), 1, -1])


def test_figures():
    seconds = {
        "float32, bare": [9.0, 18, 10], "float32, whole": [10.0, 20, 10],
        "bfloat16, bare": [4.0, 8, 4], "bfloat16, whole": [5.0, 16, 5],
    }  # fmt: skip
    all_of = {"float32": extraction([[1, 0], [0, 1]]), "bfloat16": extraction([[1, 0], [1, 1]])}
    figures = {figure.name.removeprefix("extraction: "): figure for figure in figures_of(WORK, all_of, seconds)}
    assert figures["float32, whole"].value == 2  # 20 crops in 10 s
    ratio = figures["float32, whole against bare"]
    assert (ratio.value, ratio.least, ratio.most, str(ratio.must), ratio.missed) == (0.9, 0.9, 1, ">= 0.9", False)
    assert figures["bfloat16, whole against bare"].must is None
    ratio = figures["bfloat16 against float32"]
    assert (ratio.value, ratio.least, str(ratio.must)) == (2, 1.25, ">= 1.4")
    least = figures["bfloat16, least cosine of features"]
    assert least.value == pytest.approx(math.sqrt(0.5)) and least.missed and str(least.must) == ">= 0.999"
    assert figures["bfloat16, cosine of features"].must is None
    assert "bfloat16 against float32" not in str(figures_of(WORK, {"float32": all_of["float32"]}, seconds))


def test_data_has_two_hands_in_every_frame_of_every_shard(tmp_path):
    make_data(tmp_path, WORK)
    dataset = NTURGBD(tmp_path / "clips")
    assert len(dataset.records) == 4 and all(record.video.is_file() for record in dataset.records)
    with PoseCache(tmp_path / "poses") as poses:
        for record in dataset.records:
            hands = poses.pixels(record.clip_id)[:, :, [7, 11]]
            assert hands.shape[0] == WORK.frames
            assert np.isfinite(hands[:, 0]).all() and np.isnan(hands[:, 1]).all()
            assert (hands[:, 0] > 50).all() and (hands[:, 0] < (1870, 1030)).all()
