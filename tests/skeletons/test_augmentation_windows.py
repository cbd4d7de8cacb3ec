"""The part of a clip that a training sub-sequence is drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION, AugmentationConfig, apply_augmentation, draw_augmentation
from tests.skeletons.test_augmentation import THREE, Fixed, only, three_joints


@pytest.mark.parametrize(
    ("share", "place", "expected"),
    [
        # Half of 10 frames: 5, which start at 0 to 5: floor(6 · place). Share 0.5 + 0.5 · 0.6 = 0.8: 8 frames, start 0 to 2.
        (0.0, 0.0, (0, 5)),
        (0.0, 0.5, (3, 8)),
        (0.0, 0.999, (5, 10)),
        (0.6, 0.999, (2, 10)),
        (0.999, 0.999, (0, 10)),
    ],
)
def test_window_by_hand(share, place, expected):
    clip = three_joints().repeat(10, axis=0)
    drawn = draw_augmentation(clip, THREE, only(window=0.5), Fixed(window=share, place=place))
    assert drawn.window == expected
    np.testing.assert_array_equal(apply_augmentation(clip, THREE, drawn), clip, "the window is left to the caller")


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_windows_lie_inside_the_clip_and_every_frame_is_in_some(length):
    clip, draw = three_joints().repeat(length, axis=0), np.random.default_rng(0)
    seen = np.zeros(length, int)
    for _ in range(300):
        start, stop = draw_augmentation(clip, THREE, only(window=0.01), draw).window
        assert 0 <= start < stop <= length
        seen[start:stop] += 1
    assert seen.all()
    assert draw_augmentation(clip, THREE, NO_AUGMENTATION, draw).window == (0, length)


def test_the_length_of_the_window_is_uniform():
    clip, draw = three_joints().repeat(200, axis=0), np.random.default_rng(0)
    windows = np.array([draw_augmentation(clip, THREE, only(window=0.4), draw).window for _ in range(2000)])
    frames = windows[:, 1] - windows[:, 0]
    assert 80 <= frames.min() < 83 and 197 < frames.max() <= 200
    # Uniform in 80 to 200: mean 140, standard deviation 120 / √12 = 34.6, of the mean 0.8.
    assert frames.mean() == pytest.approx(140, abs=3.5) and frames.std() == pytest.approx(34.6, rel=0.05)
    places = windows[frames < 190, 0] / (200 - frames[frames < 190])
    assert places.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, np.nan, False])
def test_a_window_is_a_share_above_0(share):
    with pytest.raises(ConfigError, match=r"window is out of range .*expected above 0, up to 1"):
        AugmentationConfig(window=share)
