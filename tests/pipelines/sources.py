"""Videos and caches whose values tell clip, frame, place and view, and what has to hold for every source of batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.clip_views import ViewShardWriter
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CacheIndex, CacheOptions, plan_cache
from keras_actrec.cache.writer import PoseShardWriter
from keras_actrec.errors import CacheError, ConfigError, DatasetError
from keras_actrec.pipelines.tf_data import epoch_rows, evaluation_dataset, training_dataset

LENGTHS = {"c1": 20, "c2": 2, "c3": 11, "c4": 9}
LABELS = {"c3": 7, "c9": 1, "c1": 5, "c2": 0}
TEST_VIEWS, TRAINING_VIEWS = 2, 4


def painted(clip_id: str, frames: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Frames of a clip of `LENGTHS`, uint8 (n, *size, 3): red tells the column, green the row, blue the clip and the frame."""
    pictures = np.empty((len(frames), *size, 3), np.uint8)
    pictures[..., 1], pictures[..., 0] = np.mgrid[: size[0], : size[1]]
    pictures[..., 2] = 40 * int(clip_id[1:]) + np.asarray(frames)[:, None, None]
    return pictures


def write_pixels(folder: Path, *, second: float) -> PoseCache:
    """Joint j of person 1 in frame t is at (4 j, t), in a video of 120x60; person 2 is where `second` says (NaN: absent)."""
    index = plan_cache(folder, CacheOptions("poses", "test", "kinect_v2", {}), LENGTHS)
    with PoseShardWriter(folder, index, 0) as writer:
        for clip in index.shards[0]:
            length = LENGTHS[clip]
            pixels = np.full((length, 2, 25, 2), second, np.float32)
            pixels[:, 0, :, 0] = 4 * np.arange(25)
            pixels[:, 0, :, 1] = np.arange(length)[:, None]
            writer.add(
                clip, joints=np.zeros((length, 2, 25, 3)), pixels=pixels,
                test_frames=np.zeros((1, 1), int), test_tensors=np.zeros((1, 1, 3, 3)), cleaning={},
            )  # fmt: skip
        writer.finish()
    return PoseCache(folder)


def write_views(writer: ViewShardWriter, index: CacheIndex, shapes: Sequence[tuple[int, ...]]) -> None:
    """Writes the only shard of a cache of `LENGTHS`: all values of view v of clip c are c + v / 8."""
    views = TEST_VIEWS + TRAINING_VIEWS
    with writer:
        for clip in index.shards[0]:
            values = int(clip[1:]) + np.arange(views) / 8
            writer.add(clip, *(values.reshape(views, *[1] * len(shape)) * np.ones(shape) for shape in shapes), LENGTHS[clip])
        writer.finish()


def check_cached_views(source) -> None:
    """A source of what `write_views` wrote: training chooses one of the further views, the test has the first ones."""
    batch, labels = source.training_batch(["c1", "c2", "c3", "c1"], np.array([[0.0], [0.24], [0.25], [0.999]]))
    assert labels.tolist() == [5, 0, 7, 5]
    _check_values(source, batch, [1 + 2 / 8, 2 + 2 / 8, 3 + 3 / 8, 1 + 5 / 8])  # views 2 to 5, behind those of the tests
    batch, labels = source.test_batch(["c3", "c1"])
    assert labels.tolist() == [7, 7, 5, 5]
    _check_values(source, batch, [3, 3.125, 1, 1.125])


def _check_values(source, batch: Mapping[str, np.ndarray], values: Sequence[float]) -> None:
    assert tuple(batch) == source.inputs
    for name, array in batch.items():
        assert array.dtype == np.float32
        expected = np.reshape(values, (-1, *[1] * len(source.shapes[name])))
        np.testing.assert_array_equal(array, np.broadcast_to(expected, (len(values), *source.shapes[name])))


def check_training_batches(source) -> None:
    """Two epochs of 3 clips through tf.data are the batches of the draws of `epoch_rows`, also where only the second is run."""

    def epochs(**options):
        dataset = training_dataset(source, source.clip_ids, batch_size=2, seed=3, epochs=2, **options)
        return [({name: array.numpy() for name, array in inputs.items()}, labels.numpy()) for inputs, labels in dataset]

    batches = epochs()
    assert len(batches) == 4 and set(batches[0][0]) == set(source.inputs)
    for number, (inputs, labels) in enumerate(batches):
        rows, draws = epoch_rows(3, 2, 3, *divmod(number, 2), source.draws)
        expected, wanted = source.training_batch([source.clip_ids[row] for row in rows], draws)
        np.testing.assert_array_equal(labels, wanted)
        for name in source.inputs:
            assert inputs[name].shape[1:] == source.shapes[name]
            np.testing.assert_array_equal(inputs[name], expected[name])
    for (resumed, _), (whole, _) in zip(epochs(first_epoch=1), batches[2:], strict=True):
        for name in source.inputs:
            np.testing.assert_array_equal(resumed[name], whole[name])


def check_evaluation_batches(source) -> None:
    """Every view of the clips c3, c1, c2 comes once through tf.data, with a weight; what fills the last batch has none."""
    inputs, labels, weights = zip(*evaluation_dataset(source, source.clip_ids, clips_per_batch=2), strict=True)
    assert np.concatenate(labels).tolist() == [7, 7, 5, 5, 0, 0, 0, 0]
    assert np.count_nonzero(np.concatenate(weights)) == 6
    expected, _ = source.test_batch(source.clip_ids)
    for name in source.inputs:
        np.testing.assert_array_equal(np.concatenate([batch[name] for batch in inputs])[:6], expected[name])


def check_unknown_clips_labels_and_numbers(source) -> None:
    with pytest.raises(DatasetError, match="clip c4 has no label"):
        source.test_batch(["c4"])
    with pytest.raises(CacheError, match="clip c9"):
        source.training_batch(["c9"], np.zeros((1, source.draws)))
    numbers = source.draws + 1
    with pytest.raises(
        ConfigError, match=rf"random numbers per clip \(found \(1, {numbers}\), expected \(1, {source.draws}\)\)"
    ):
        source.training_batch(["c1"], np.zeros((1, numbers)))
