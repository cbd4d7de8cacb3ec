"""Order, padding and errors of the tf.data pipelines."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.pipelines.tf_data import LoaderErrors, epoch_rows, evaluation_dataset, steps_per_epoch, training_dataset


class Numbers:
    """Clip "7" gives the number 7 and its random numbers; test rows are 7 and 7.5."""

    inputs = ("number", "draws")
    draws, test_rows = 2, 2

    def __init__(self, fails_on: str | None = None):
        self.fails_on = fails_on

    @property
    def shapes(self):
        return {"number": (1,), "draws": (2,)}

    @property
    def dtypes(self):
        return dict.fromkeys(self.inputs, np.float32)

    def training_batch(self, clip_ids, uniforms):
        if self.fails_on in clip_ids:
            raise CacheError("the shard is damaged", file="hand_features-00003.h5", fix="run verify")
        numbers = np.array(clip_ids, np.float32)[:, None]
        return {"number": numbers, "draws": uniforms.astype(np.float32)}, numbers[:, 0].astype(np.int32)

    def test_batch(self, clip_ids):
        assert clip_ids
        numbers = np.array([[float(clip) + half] for clip in clip_ids for half in (0, 0.5)], np.float32)
        return {"number": numbers, "draws": np.zeros((len(numbers), 2), np.float32)}, numbers[:, 0].astype(np.int32)


CLIPS = [str(number) for number in range(10)]


def batches(**options):
    dataset = training_dataset(Numbers(), CLIPS, batch_size=4, seed=1, **{"epochs": 3, **options})
    return [(inputs["number"].numpy()[:, 0], inputs["draws"].numpy(), labels.numpy()) for inputs, labels in dataset]


def test_every_epoch_holds_every_clip_and_fills_its_last_batch_from_its_own_start():
    numbers = np.array([batch[0] for batch in batches()]).reshape(3, 12)
    for epoch in numbers:
        assert sorted(epoch[:10]) == list(range(10))
        np.testing.assert_array_equal(epoch[10:], epoch[:2])
    assert not np.array_equal(numbers[0], numbers[1])


def test_a_run_resumed_at_an_epoch_sees_the_same_batches():
    for whole, resumed in zip(batches()[2 * 3 :], batches(first_epoch=2), strict=True):
        for a, b in zip(whole, resumed, strict=True):
            np.testing.assert_array_equal(a, b)


def test_order_and_draws_follow_from_seed_epoch_and_step():
    rows, uniforms = epoch_rows(10, 4, 1, 2, 1, 2)
    numbers, draws, labels = batches()[2 * 3 + 1]
    np.testing.assert_array_equal(numbers, rows)
    np.testing.assert_array_equal(labels, rows)
    np.testing.assert_allclose(draws, uniforms, rtol=1e-6)
    assert not np.array_equal(draws, batches(epochs=1)[1][1])  # epoch 0
    assert not np.array_equal(draws, batches()[2 * 3][1])  # step 0
    assert not np.array_equal(uniforms, epoch_rows(10, 4, 2, 2, 1, 2)[1])  # seed 2


def test_fewer_clips_than_rows_repeat():
    rows, uniforms = epoch_rows(3, 8, 0, 0, 0, 1)
    np.testing.assert_array_equal(rows, np.tile(rows[:3], 3)[:8])
    assert sorted(rows[:3]) == [0, 1, 2]
    assert len(np.unique(uniforms)) == 8  # the same clip, other sub-sequences


def test_shapes_are_static():
    inputs, labels = training_dataset(Numbers(), CLIPS, batch_size=4, seed=0, epochs=1).element_spec
    assert inputs["number"].shape == (4, 1) and inputs["draws"].shape == (4, 2) and labels.shape == (4,)
    inputs, labels, weights = evaluation_dataset(Numbers(), CLIPS, clips_per_batch=4).element_spec
    assert inputs["number"].shape == (8, 1) and labels.shape == (8,) and weights.shape == (8,)


def test_evaluation_keeps_the_order_and_weights_padding_with_zero():
    parts = [
        (inputs["number"].numpy()[:, 0], labels.numpy(), weights.numpy())
        for inputs, labels, weights in evaluation_dataset(Numbers(), CLIPS, clips_per_batch=4)
    ]
    numbers, labels, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert len(numbers) == 24
    np.testing.assert_array_equal(numbers[:20], np.arange(20) / 2)
    np.testing.assert_array_equal(labels[:20], np.arange(20) // 2)
    np.testing.assert_array_equal(weights, np.float32([1.2] * 20 + [0] * 4))  # 24 rows / 20 real rows
    assert (weights * numbers).mean() == pytest.approx(numbers[:20].mean())


def test_the_error_of_a_loader_comes_out_as_it_was_raised():
    with (
        pytest.raises(CacheError, match=r"^hand_features-00003.h5: the shard is damaged. Run verify$"),
        LoaderErrors() as errors,
    ):
        for _ in training_dataset(Numbers("7"), CLIPS, batch_size=4, seed=1, epochs=1, errors=errors):
            pass


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError), LoaderErrors():
        raise ZeroDivisionError


def test_no_clips_and_no_batch_are_refused():
    with pytest.raises(ConfigError, match="left-out clips"):
        training_dataset(Numbers(), [], batch_size=4, seed=0, epochs=1)
    with pytest.raises(ConfigError, match="at least one clip"):
        evaluation_dataset(Numbers(), CLIPS, clips_per_batch=0)


def test_steps_round_up():
    assert [steps_per_epoch(clips, 4) for clips in (1, 4, 5, 8)] == [1, 1, 2, 2]


class Halves(Numbers):
    """Rows of every finite float16, as caches may hold it."""

    inputs = ("halves",)
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]

    @property
    def shapes(self):
        return {"halves": self.finite.shape}

    @property
    def dtypes(self):
        return {"halves": np.float16}

    def training_batch(self, clip_ids, uniforms):
        return {"halves": np.tile(self.finite, (len(clip_ids), 1))}, np.zeros(len(clip_ids), np.int32)

    def test_batch(self, clip_ids):
        return self.training_batch(np.repeat(clip_ids, 2), None)


def test_float16_becomes_float32_to_the_bit_in_threads_that_flush_subnormal_numbers():
    expected = Halves.finite.astype(np.float32).view(np.int32)
    training = training_dataset(Halves(), CLIPS, batch_size=4, seed=1, epochs=1)
    for inputs, *_ in (*training, *evaluation_dataset(Halves(), CLIPS, clips_per_batch=3)):
        for row in inputs["halves"].numpy():
            np.testing.assert_array_equal(row.view(np.int32), expected)
