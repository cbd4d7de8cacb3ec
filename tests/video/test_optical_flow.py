"""Optical flow: known motion, TSN's bytes, stacks by hand, the mirrored video, and OpenCV with and without TV-L1."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.video.optical_flow import (
    PRESETS,
    FlowConfig,
    flow_frames,
    flow_method,
    flow_stacks,
    mirrored_stacks,
    quantized,
    stack_frames,
)

SIZE = (96, 128)


def texture(height, width, seed=0):
    """Smooth random grey patterns as BGR."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)
    return cv2.cvtColor(smooth.astype(np.uint8), cv2.COLOR_GRAY2BGR)


def moving(count, dx, dy, size=SIZE):
    """Frames in which everything moves by (dx, dy) pixels, at most 4 each way: to the right and down where positive."""
    margin = 4 * count
    scene = texture(size[0] + 2 * margin, size[1] + 2 * margin)
    for t in range(count):
        top, left = margin - t * dy, margin - t * dx
        yield scene[top : top + size[0], left : left + size[1]]


def pixels(flow, bound):
    """Bytes back to pixels, without the border, where nothing is known about what comes in."""
    return ((flow.astype(np.float64) - 127.5) * bound / 127.5)[..., 12:-12, 12:-12, :]


# Flow of known motion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("motion", [(3, 0), (0, 2), (-2, 1), (-3, -2)])
def test_what_moves_right_and_down_is_positive(preset, motion):
    config = FlowConfig(picture_size=SIZE, bound=8.0, preset=preset)
    flow = np.stack(list(flow_frames(moving(4, *motion), config)))
    assert flow.shape == (4, *SIZE, 2) and flow.dtype == np.uint8
    found = pixels(flow, 8.0)
    np.testing.assert_allclose(np.median(found, axis=(0, 1, 2)), motion, atol=0.2)
    assert np.abs(found - motion).mean() < 0.3


def test_frame_t_is_the_flow_to_the_next_and_the_last_repeats():
    scene = list(moving(3, 2, 0))
    frames = [scene[0], scene[0], scene[1], scene[1]]  # rest, 2 to the right, rest
    flow = list(flow_frames(iter(frames), FlowConfig(picture_size=SIZE)))
    found = [np.median(pixels(one, 20.0)[..., 0]) for one in flow]
    np.testing.assert_allclose(found, [0, 2, 0, 0], atol=0.1)
    np.testing.assert_array_equal(flow[3], flow[2])


def test_flow_is_in_pixels_of_the_resized_picture():
    small = FlowConfig(picture_size=(SIZE[0], SIZE[1] // 2))
    flow = np.stack(list(flow_frames(moving(3, 4, 2), small)))
    assert flow.shape == (3, SIZE[0], SIZE[1] // 2, 2)
    np.testing.assert_allclose(np.median(pixels(flow, 20.0), axis=(0, 1, 2)), (2, 2), atol=0.15)


def test_a_single_frame_rests_and_no_frame_gives_none():
    assert list(flow_frames(iter([]), FlowConfig(picture_size=SIZE))) == []
    (flow,) = flow_frames(moving(1, 0, 0), FlowConfig(picture_size=SIZE))
    assert flow.shape == (*SIZE, 2) and (flow == 128).all()


def test_frames_are_read_when_they_are_needed():
    read = []

    def frames():
        for number, frame in enumerate(moving(4, 1, 0)):
            read.append(number)
            yield frame

    flow = flow_frames(frames(), FlowConfig(picture_size=SIZE))
    next(flow)
    assert read == [0, 1]
    next(flow)
    assert read == [0, 1, 2]


def test_the_number_of_threads_changes_nothing():
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 2):
            cv2.setNumThreads(count)
            found.append(np.stack(list(flow_frames(moving(3, 3, 1), FlowConfig(picture_size=SIZE)))))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(*found)


# Bytes ------------------------------------------------------------------------------------------------------------------------


def test_bytes_are_those_of_tsn():
    values = np.array([-25.0, -20.0, -19.95, -10.0, -0.07, 0.0, 0.07, 0.1, 10.0, 19.95, 20.0, 1e9], np.float32)
    # 255 · (v + 20) / 40 by hand: -0.16 …, 0.32, 63.75, 127.05, 127.5, 127.95, 128.14, 191.25, 254.68
    expected = [0, 0, 0, 64, 127, 128, 128, 128, 191, 255, 255, 255]
    assert quantized(values, 20.0).tolist() == expected
    random = np.random.default_rng(0).uniform(-30, 30, (50, 2)).astype(np.float32)
    formula = np.clip(np.rint(255 * (random.astype(np.float64) + 15) / 30), 0, 255)
    np.testing.assert_array_equal(quantized(random, 15.0), formula)


@pytest.mark.parametrize("bound", [0.3, 7.0, 15.0, 20.0, 33.3])
def test_rest_is_128_whatever_the_bound(bound):
    assert quantized(np.zeros(2, np.float32), bound).tolist() == [128, 128]


# Stacks -----------------------------------------------------------------------------------------------------------------------


def random_flow(length, height=3, width=4):
    return np.random.default_rng(1).integers(0, 256, (length, height, width, 2), np.uint8)


@pytest.mark.parametrize("planes", [10, 4, 2])
def test_stacks_take_turns_of_x_and_y_and_repeat_the_last_frame(planes):
    flow, starts = random_flow(7), np.array([5, 0, 6, 0, 2])
    stacks = flow_stacks(flow, starts, planes)
    assert stacks.shape == (5, 3, 4, planes) and stacks.dtype == np.uint8
    for stack, start in zip(stacks, starts, strict=True):
        for plane in range(planes):
            np.testing.assert_array_equal(stack[..., plane], flow[min(start + plane // 2, 6), ..., plane % 2])


def test_frames_of_stacks():
    assert stack_frames(np.array([0, 3]), 5).tolist() == [[0, 1, 2, 3, 4], [3, 4, 4, 4, 4]]
    assert stack_frames(np.array([0]), 1, planes=4).tolist() == [[0, 0]]


def test_mirrored_stacks_by_hand():
    stack = np.arange(1 * 1 * 2 * 4, dtype=np.uint8).reshape(1, 1, 2, 4)  # planes x y x y of two columns
    before = stack.copy()
    assert mirrored_stacks(stack).tolist() == [[[[251, 5, 249, 7], [255, 1, 253, 3]]]]
    np.testing.assert_array_equal(stack, before)
    stacks = flow_stacks(random_flow(6), np.arange(6))
    np.testing.assert_array_equal(mirrored_stacks(mirrored_stacks(stacks)), stacks)


def test_mirrored_stacks_are_those_of_the_mirrored_video():
    frames = list(moving(3, 3, -1))
    config = FlowConfig(picture_size=SIZE, bound=8.0)

    def stack(video):
        return flow_stacks(np.stack(list(flow_frames(iter(video), config))), np.array([0]))

    found = pixels(mirrored_stacks(stack(frames)), 8.0)
    expected = pixels(stack([frame[:, ::-1] for frame in frames]), 8.0)
    assert np.abs(found - expected).mean() < 0.2
    np.testing.assert_allclose(np.median(found, axis=(0, 1, 2)), [-3, -1] * 5, atol=0.1)


@pytest.mark.parametrize("starts", [[7], [-1], [[0, 1]], [0.5]])
def test_starts_outside_of_the_clip(starts):
    with pytest.raises(ConfigError, match=r"stacks begin at frames of the clip .*integers \(n,\) in 0\.\.6"):
        flow_stacks(random_flow(7), np.array(starts))


@pytest.mark.parametrize("planes", [0, 3, -2])
def test_an_odd_number_of_planes(planes):
    with pytest.raises(ConfigError, match=rf"even number of planes.*found {planes}"):
        flow_stacks(random_flow(7), np.array([0]), planes)


def test_flow_of_another_shape():
    with pytest.raises(ConfigError, match=r"found \(7, 3, 4, 1\), expected \(T, H, W, 2\)"):
        flow_stacks(random_flow(7)[..., :1], np.array([0]))


# Settings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "farneback"}, "found 'farneback', expected 'dis' or 'tvl1'"),
        ({"picture_size": (240,)}, r"found \(240,\), expected \(height, width\), integers of at least 32"),
        ({"picture_size": (240, 31)}, r"found \(240, 31\)"),
        ({"picture_size": (240.0, 320.0)}, r"found \(240\.0, 320\.0\)"),
        ({"bound": 0.0}, "bound of optical flow is a positive number"),
        ({"bound": float("inf")}, "bound of optical flow is a positive number"),
        ({"preset": "slow"}, "found 'slow', expected one of ultrafast, fast, medium"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ConfigError, match=words):
        FlowConfig(**settings)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(32, 32), (32, 300), (32, 88), (88, 32)])
def test_the_smallest_pictures(preset, size):
    flow = list(flow_frames(moving(2, 0, 0, size), FlowConfig(picture_size=size, preset=preset)))
    assert [one.shape for one in flow] == [(*size, 2)] * 2


def test_an_opencv_without_tvl1(monkeypatch):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(ConfigError, match=r"TV-L1 is not part of this OpenCV .*opencv-contrib-python.*or take the method dis"):
        next(flow_frames(moving(2, 1, 0), FlowConfig("tvl1", SIZE)))


def test_the_method_that_is_asked_for_computes(monkeypatch):
    def calc(picture, following, start):
        assert start is None and picture.shape == SIZE
        return np.full((*SIZE, 2), (5.0, -10.0), np.float32)

    tvl1 = SimpleNamespace(DualTVL1OpticalFlow_create=lambda: SimpleNamespace(calc=calc))
    monkeypatch.setattr(cv2, "optflow", tvl1, raising=False)
    flow = list(flow_frames(moving(3, 1, 0), FlowConfig("tvl1", SIZE)))
    assert len(flow) == 3 and all((one == (159, 64)).all() for one in flow)


@pytest.mark.skipif(not hasattr(cv2, "optflow"), reason="this OpenCV has no TV-L1")
def test_tvl1_sees_the_same_motion():
    first, second = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in moving(2, -2, 1))
    flow = flow_method(FlowConfig("tvl1", SIZE))(first, second)
    assert flow.shape == (*SIZE, 2) and flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (-2, 1), atol=0.15)
