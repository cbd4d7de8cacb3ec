"""Training sub-sequences of augmented clips: the right frames, joints and hands, and the same ones again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.pipelines.tf_data import training_dataset
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION, AugmentationConfig, apply_augmentation, draw_augmentation
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, subsequence_frames
from tests.pipelines.caches import clip_joints, write_feature_cache, write_pose_cache

LENGTHS = {"c1": 40, "c2": 23, "c3": 12}
LABELS = {"c1": 5, "c2": 0, "c3": 2}
SAMPLING = SamplingConfig(subsequences=3)
CLIPS = ["c1", "c2", "c3", "c1"]
DEFAULT = AugmentationConfig()
UNIFORMS = np.random.default_rng(8).random((4, 22))


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    return write_pose_cache(folder / "poses", LENGTHS, SAMPLING), write_feature_cache(folder / "hands", LENGTHS)


def source(caches, augmentation: AugmentationConfig = DEFAULT) -> SubsequenceSource:
    return SubsequenceSource(*caches, LABELS, PoseTensorConfig(), SAMPLING, augmentation=augmentation)


def drawn(clip: str, row: np.ndarray, config: AugmentationConfig):
    """The augmentation of a row, drawn apart: its generator is seeded by the 53 bits of each of the last two numbers."""
    seed = [int(number * 2**53) for number in row[20:]]
    return draw_augmentation(clip_joints(clip, LENGTHS[clip]), KINECT_V2, config, np.random.default_rng(seed))


def test_joints_are_augmented_and_frames_lie_in_the_window(caches):
    config = AugmentationConfig(window=0.2)
    batch, labels = source(caches, config).training_batch(CLIPS, UNIFORMS)
    assert labels.tolist() == [5, 0, 2, 5]
    windows = set()
    for row, clip in enumerate(CLIPS):
        augmentation = drawn(clip, UNIFORMS[row], config)
        start, stop = augmentation.window
        windows.add((stop - start) / LENGTHS[clip])
        frames = start + subsequence_frames(stop - start, UNIFORMS[row : row + 1, :20])[0]
        joints = apply_augmentation(clip_joints(clip, LENGTHS[clip]), KINECT_V2, augmentation)
        # Velocities are those of the whole augmented clip, at the cut too.
        tensor = clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig())
        np.testing.assert_array_equal(batch["pose"][row], tensor[frames])
        there = batch["hands"][row, :, :, 2].any(axis=0)  # Hand 3 is absent in every clip.
        assert there.sum() == 3
        np.testing.assert_array_equal(batch["hands"][row][:, there, 0], np.repeat(frames[:, None], 3, axis=1))
    assert len(windows) == 4 and max(windows) < 1, "or the test would see whole clips only"


@pytest.mark.parametrize(
    ("mirror", "swap", "with_two", "alone"),
    [
        # Features tell which hand they were cut around; hand 3 is absent, its zeros read as 0. c2 has one person.
        (0.0, 0.0, [0, 1, 2, 0], [0, 1, 2, 0]),
        (1.0, 0.0, [1, 0, 0, 2], [1, 0, 0, 2]),
        (0.0, 1.0, [2, 0, 0, 1], [0, 1, 2, 0]),
        (1.0, 1.0, [0, 2, 1, 0], [1, 0, 0, 2]),
    ],
)
def test_hand_features_stay_with_their_joints(caches, mirror, swap, with_two, alone):
    config = AugmentationConfig(mirror=mirror, person_swap=swap)
    batch, _ = source(caches, config).training_batch(["c1", "c2"], UNIFORMS[:2])
    assert batch["hands"].shape == (2, 20, 4, 2048) and batch["hands"].dtype == np.float16
    np.testing.assert_array_equal(batch["hands"][0, :, :, 1], np.tile(with_two, (20, 1)))
    np.testing.assert_array_equal(batch["hands"][1, :, :, 1], np.tile(alone, (20, 1)))


def test_without_augmentation_rows_are_what_they_were(caches):
    plain = SubsequenceSource(*caches, LABELS, PoseTensorConfig(), SAMPLING)
    off = source(caches, AugmentationConfig(**vars(NO_AUGMENTATION)))
    assert plain.draws == off.draws == SAMPLING.frames and source(caches).draws == SAMPLING.frames + 2
    batch, _ = off.training_batch(CLIPS, UNIFORMS[:, :20])
    for row, clip in enumerate(CLIPS):
        frames = subsequence_frames(LENGTHS[clip], UNIFORMS[row : row + 1, :20])[0]
        tensor = clip_pose_tensor(clip_joints(clip, LENGTHS[clip]), KINECT_V2, PoseTensorConfig())
        np.testing.assert_array_equal(batch["pose"][row], tensor[frames])
        np.testing.assert_array_equal(batch["hands"][row, :, :, 1], np.tile([0, 1, 2, 0], (20, 1)))
        np.testing.assert_array_equal(batch["hands"][row, :, 0, 0], frames)


def test_the_same_numbers_give_the_same_row_wherever_it_stands(caches):
    first, _ = source(caches).training_batch(CLIPS, UNIFORMS)
    again, _ = source(caches).training_batch(CLIPS[::-1], UNIFORMS[::-1])
    for name in ("pose", "hands"):
        np.testing.assert_array_equal(again[name][::-1], first[name])
    other = UNIFORMS.copy()
    other[:, 21] = UNIFORMS[::-1, 21]  # Either of the two numbers makes another augmentation.
    assert (source(caches).training_batch(CLIPS, other)[0]["pose"] != first["pose"]).any(axis=(1, 2, 3)).all()


def test_a_resumed_run_sees_the_augmentations_of_an_uninterrupted_one(caches):
    def batches(first_epoch: int) -> list[np.ndarray]:
        data = training_dataset(source(caches), list(LABELS), batch_size=2, seed=4, epochs=3, first_epoch=first_epoch)
        return [inputs["pose"].numpy() for inputs, _ in data]

    whole, resumed = batches(0), batches(2)
    assert (len(whole), len(resumed)) == (6, 2)
    for found, expected in zip(resumed, whole[4:], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_stages_that_see_other_inputs_see_the_same_rows(caches):
    both, _ = source(caches).training_batch(CLIPS, UNIFORMS)
    for name in ("pose", "hands"):
        alone, _ = source(caches).select([name]).training_batch(CLIPS, UNIFORMS)
        assert set(alone) == {name}
        np.testing.assert_array_equal(alone[name], both[name])


def test_test_batches_are_not_augmented(caches):
    plain, augmented = (source(caches, config).test_batch(CLIPS)[0] for config in (NO_AUGMENTATION, AugmentationConfig()))
    for name in ("pose", "hands"):
        np.testing.assert_array_equal(augmented[name], plain[name])


def test_cached_joints_are_not_changed(caches):
    data = source(caches)
    for _ in range(2):
        data.training_batch(["c1"], UNIFORMS[:1])
    before = clip_joints("c1", 40)
    np.testing.assert_array_equal(data._clip_joints("c1"), before)


def test_pose_tensors_of_one_person_are_always_of_the_first(tmp_path):
    tensor, config = PoseTensorConfig(people=1), replace(NO_AUGMENTATION, person_swap=1.0)
    poses = write_pose_cache(tmp_path, LENGTHS, SAMPLING, tensor)
    data = SubsequenceSource(poses, None, LABELS, tensor, SAMPLING, augmentation=config)
    batch, _ = data.training_batch(["c1"], UNIFORMS[:1, : data.draws])
    frames = subsequence_frames(40, UNIFORMS[:1, :20])[0]
    expected = clip_pose_tensor(clip_joints("c1", 40), KINECT_V2, PoseTensorConfig())[frames]
    np.testing.assert_array_equal(batch["pose"][0], expected[:, :150])


@pytest.mark.parametrize("draws", [20, 23])
def test_too_few_or_too_many_numbers_are_refused(caches, draws):
    with pytest.raises(ConfigError, match=rf"random numbers per clip \(found \(4, {draws}\), expected \(4, 22\)\)"):
        source(caches).training_batch(CLIPS, np.zeros((4, draws)))


def test_clips_that_the_cache_does_not_hold_are_named(caches):
    data = SubsequenceSource(*caches, {**LABELS, "c9": 0}, PoseTensorConfig(), SAMPLING, augmentation=AugmentationConfig())
    with pytest.raises(CacheError, match=r"poses, clip c9: .*run the extraction"):
        data.training_batch(["c9"], UNIFORMS[:1])
