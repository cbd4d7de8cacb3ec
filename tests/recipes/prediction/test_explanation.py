"""The picture of four moments: which frames of a clip it shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from keras_actrec.recipes.prediction.explanation import Prediction, write_explanation
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence

NAN = np.nan
RISING = np.arange(24) / 24


@dataclass(frozen=True, eq=False)
class Shades(Prediction):
    """A prediction whose frames are of one shade each: 4 times their number."""

    weights: np.ndarray

    @property
    def moments(self):
        return self.weights

    def annotated_frames(self):
        for index in range(len(self.weights)):
            yield np.full((8, 10, 3), 4 * index, np.uint8)


def shown(weights, path) -> list[int]:
    """Numbers of the frames in the picture, row by row."""
    sequence = SkeletonSequence(np.zeros((len(weights), 2, 25, 3), np.float32), KINECT_V2)
    prediction = Shades(("wave", "clap"), np.array([0.25, 0.75]), sequence, path, np.array(weights, float))
    picture = cv2.imread(str(write_explanation(prediction, path / "moments.png")))
    return (picture[4::8, 5::10, 0] // 4).ravel().tolist()


@pytest.mark.parametrize(
    ("weights", "frames"),
    [
        # Quarters 0-1, 2-3, 4-5, 6-7.
        ([1, 2, 4, 3, 5, 6, 8, 7], [1, 2, 5, 6]),
        # Nothing to choose by: the first of each quarter.
        (np.ones(8), [0, 2, 4, 6]),
        # Quarters of what is looked at: 2-3, 4-5, 6-7, 8-9.
        ([NAN, NAN, 1, 2, 1, 2, 1, 2, 1, 2, NAN], [3, 5, 7, 9]),
        # One peak, 0.9 at frame 5 and 1.0 at frame 6, over the border of the first two of four quarters of 6 frames: the first
        # quarter stays more than 2 frames away from it.
        ([0, 0.1, 0.2, 0.8, 0.8, 0.9, 1, 0, 0, 0, 0, 0, 0.5, *np.zeros(11)], [3, 6, 12, 18]),
        (RISING, [5, 11, 17, 23]),
        ([3, 1, 2], [0, 1]),
        ([1], [0]),
    ],
    ids=["quarters", "equal", "looked-at", "border", "rising", "three", "one"],
)
def test_the_heaviest_moment_of_each_quarter(tmp_path, weights, frames):
    assert shown(weights, tmp_path) == frames


def test_top_is_sorted():
    sequence = SkeletonSequence(np.zeros((1, 2, 25, 3), np.float32), KINECT_V2)
    prediction = Shades(("wave", "clap", "drink"), np.array([0.25, 0.5, 0.25]), sequence, None, np.ones(1))
    assert prediction.top(2) == [("clap", 0.5), ("wave", 0.25)]
