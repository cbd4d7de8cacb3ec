"""Learning-rate schedules, smoothed targets, and stages that end with their last weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.training.checkpoints import arrays_of
from keras_actrec.training.config import StageConfig
from keras_actrec.training.optimizers import CoupledSGD, build_optimizer, learning_rate
from keras_actrec.training.stages import run_stage
from tests.training.test_stages import CONFIG, HELD_OUT, TRAIN, Untouched, assert_same_end, train, without_seconds
from tests.training.tiny import MemorySource, tiny_model

ANNEALED = replace(CONFIG, schedule="cosine", warmup_epochs=1, weight_decay=0.1, label_smoothing=0.2, keep="last")


def test_cosine_by_hand():
    # 10 epochs of 20 steps, 2 of them warm-up: steps 0 to 40 rise, 40 to 200 fall, 120 lies in the middle.
    config = StageConfig("pose", learning_rate=0.5, schedule="cosine", warmup_epochs=2, epochs=10)
    rate = learning_rate(config, 20)
    values = [float(rate(step)) for step in (0, 20, 40, 80, 120, 160, 200)]
    quarter = 0.25 * (1 + 2**-0.5)  # 0.5 · (1 + cos 45°) / 2
    np.testing.assert_allclose(values, [0, 0.25, 0.5, quarter, 0.25, 0.5 - quarter, 0], atol=1e-7)


def test_cosine_without_warmup_starts_at_the_highest_rate():
    rate = learning_rate(StageConfig("pose", learning_rate=0.5, schedule="cosine", epochs=10), 20)
    np.testing.assert_allclose([float(rate(step)) for step in (0, 100, 200)], [0.5, 0.25, 0], atol=1e-7)


@pytest.mark.parametrize(("decay", "kind"), [(0.0, keras.optimizers.Adam), (0.1, keras.optimizers.AdamW)])
def test_the_optimizer_follows_the_schedule(decay, kind):
    # One epoch of 4 steps without warm-up: 0.5 · (1 + cos(k · 45°)) / 2. Adam without momentum moves by its rate.
    config = StageConfig("pose", learning_rate=0.5, schedule="cosine", epochs=1, weight_decay=decay)
    optimizer, weight = build_optimizer(config, 4), keras.Variable(0.0)
    assert type(optimizer) is kind
    rates = []
    for _ in range(5):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.convert_to_tensor(1.0)], [weight])
    np.testing.assert_allclose(rates, [0.5, 0.25 * (1 + 2**-0.5), 0.25, 0.25 * (1 - 2**-0.5), 0], atol=1e-7)


# Rates of VPN, section 4.1: 0.01, a tenth of it after 10 and a hundredth after 20 of 30 epochs.
VPN_STEPS = StageConfig("vpn", learning_rate=0.01, epochs=30, schedule="step", optimizer="sgd")


def test_steps_by_hand():
    rate = learning_rate(VPN_STEPS, 7)
    values = [float(rate(step)) for step in (0, 69, 70, 139, 140, 209)]
    np.testing.assert_allclose(values, [0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-6)


def test_steps_are_those_of_the_formula_at_every_step():
    config = StageConfig("vpn", learning_rate=0.3, epochs=11, schedule="step", step_epochs=3, step_factor=0.5)
    rate = learning_rate(config, 4)
    wanted = [0.3 * 0.5 ** (step // 4 // 3) for step in range(44)]
    np.testing.assert_allclose([float(rate(step)) for step in range(44)], wanted, rtol=1e-6)


def test_steps_fall_as_often_as_they_may():
    """RPAN, section 4.1: 0.1, and 0.01 from epoch 40 to the last of 100."""
    config = StageConfig("rpan", learning_rate=0.1, epochs=100, schedule="step", step_epochs=40, falls=1)
    values = [float(learning_rate(config, 3)(step)) for step in (0, 119, 120, 240, 299)]
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 10])
def test_steps_longer_than_the_stage_are_a_constant_rate(epochs):
    assert learning_rate(replace(VPN_STEPS, epochs=epochs), 7) == 0.01


def test_sgd_with_momentum_by_hand():
    # Gradient 1: velocity v ← 0.5 · v - rate, weight ← weight + v; the rate falls to a tenth after two steps.
    config = replace(VPN_STEPS, learning_rate=1.0, epochs=2, step_epochs=1, momentum=0.5)
    optimizer, weight = build_optimizer(config, 2), keras.Variable(0.0)
    assert type(optimizer) is keras.optimizers.SGD
    values = []
    for _ in range(4):
        optimizer.apply([keras.ops.convert_to_tensor(1.0)], [weight])
        values.append(float(keras.ops.convert_to_numpy(weight)))
    np.testing.assert_allclose(values, np.cumsum([-1, -1.5, -0.85, -0.525]), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_weight_decay_of_sgd_is_decoupled(momentum):
    # Without gradient nothing gains momentum, and the weight shrinks by rate · decay per step.
    config = replace(VPN_STEPS, learning_rate=0.1, weight_decay=0.5, epochs=2, step_epochs=1, momentum=momentum)
    optimizer, weight = build_optimizer(config, 2), keras.Variable(2.0)
    for _ in range(4):
        optimizer.apply([keras.ops.convert_to_tensor(0.0)], [weight])
    assert float(keras.ops.convert_to_numpy(weight)) == pytest.approx(2 * 0.95**2 * 0.995**2, rel=1e-6)


# RPAN, section 4.1, with rates that fall within the test.
COUPLED = replace(VPN_STEPS, learning_rate=0.1, weight_decay=0.5, momentum=0.9, epochs=2, step_epochs=1, decay="coupled")


def coupled_by_hand(weight: float, gradients: list[float], momentum: float) -> list[float]:
    """The weight after each step with decay 0.5 in the gradient, at rate 0.1 for two steps, then 0.01."""
    velocity, values = 0.0, []
    for step, gradient in enumerate(gradients):
        velocity = momentum * velocity - (0.1 if step < 2 else 0.01) * (gradient + 0.5 * weight)
        weight += velocity
        values.append(weight)
    return values


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("graph", [None, False, True], ids=["eager", "graph", "xla"])
def test_coupled_weight_decay_is_part_of_the_gradient(momentum, graph):
    optimizer = build_optimizer(replace(COUPLED, momentum=momentum), 2)
    weight = keras.Variable(2.0)
    optimizer.build([weight])

    def step(gradient):
        optimizer.apply([gradient], [weight])

    step = step if graph is None else tf.function(step, jit_compile=graph)
    gradients, values = [1.0, 0.0, -3.0, 0.0], []
    for gradient in gradients:
        step(tf.constant(gradient))
        values.append(float(keras.ops.convert_to_numpy(weight)))
    np.testing.assert_allclose(values, coupled_by_hand(2.0, gradients, momentum), rtol=1e-6)


def test_coupled_weight_decay_is_half_its_square_in_the_loss(tmp_path):
    # The only step of a stage, against descent on the loss with λ/2 ‖θ‖² written out.
    config = replace(COUPLED, batch_size=8, epochs=1, weight_decay=0.3, keep="last")
    (_, _, stream), (_, _, by_hand) = (tiny_model(norm=False, dropout=0.0) for _ in range(2))
    seen = {}

    class Watched(MemorySource):
        def training_batch(self, clip_ids, uniforms):
            seen["batch"] = super().training_batch(clip_ids, uniforms)
            return seen["batch"]

    run_stage(stream, stream, Watched(), TRAIN[:8], HELD_OUT, config, tmp_path)
    inputs, labels = seen["batch"]
    variables = [weight.value for weight in by_hand.trainable_weights]
    with tf.GradientTape() as tape:
        logits = by_hand({name: tf.constant(inputs[name]) for name in by_hand.input}, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        loss += 0.15 * tf.add_n([tf.reduce_sum(variable**2) for variable in variables])
    gradients = tape.gradient(loss, variables)
    for weight, variable, gradient in zip(stream.trainable_weights, variables, gradients, strict=True):
        np.testing.assert_allclose(arrays_of([weight])[0], variable - 0.1 * gradient, atol=1e-6, err_msg=weight.path)


def test_the_optimizer_with_coupled_decay_is_saved():
    optimizer = build_optimizer(COUPLED, 7)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is CoupledSGD and again.get_config() == optimizer.get_config()
    assert (again.coupled_decay, again.momentum) == (0.5, 0.9) and again.weight_decay is None
    assert type(build_optimizer(replace(COUPLED, weight_decay=0.0), 7)) is keras.optimizers.SGD


def test_coupled_decay_is_of_sgd_alone():
    with pytest.raises(ConfigError, match=r'decay is out of range \(found \'coupled\', expected "decoupled": only .* "sgd"'):
        replace(COUPLED, optimizer="adam")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_steps_train_all_epochs(keep):
    assert not replace(VPN_STEPS, keep=keep, patience=1).stops_early
    with pytest.raises(ConfigError, match=r"warmup_epochs .*only the schedule \"cosine\""):
        replace(VPN_STEPS, warmup_epochs=1)


def test_a_stage_takes_the_steps_before_and_after_a_resume(tmp_path):
    # Two epochs of training, then rates that round to nothing: epochs 2 to 4 have the same validation loss.
    config = replace(CONFIG, schedule="step", step_epochs=2, step_factor=1e-30, optimizer="sgd", momentum=0.0)
    with pytest.raises(CacheError):
        train_without_norm(tmp_path, config, MemorySource(fail_at=(CONFIG.seed, 2, 1), failure=CacheError("no")))
    history = train_without_norm(tmp_path, config, MemorySource(), resume=True)
    losses = [row["val_loss"] for row in history.epochs]
    assert len(losses) == 4 and losses[0] != losses[1] == losses[2] == losses[3]


def train_without_norm(workdir, config, source, *, resume=False):
    model, _, stream = tiny_model(norm=False)
    return run_stage(model, stream, source, TRAIN, HELD_OUT, config, workdir, resume=resume)


def test_warmup_has_to_leave_epochs_to_fall():
    with pytest.raises(ConfigError, match=r"warmup_epochs .*fewer than the 3 epochs"):
        StageConfig("pose", schedule="cosine", warmup_epochs=3, epochs=3)


@pytest.fixture(scope="module")
def annealed(tmp_path_factory):
    """Weights and history of a run with everything that is not the default, which nothing stopped."""
    return train(tmp_path_factory.mktemp("annealed"), config=ANNEALED)


def test_annealed_run_resumed_ends_bit_identical(tmp_path, annealed):
    with pytest.raises(CacheError):
        train(tmp_path, config=ANNEALED, source=MemorySource(fail_at=(CONFIG.seed, 2, 1), failure=CacheError("no")))
    weights, history = train(tmp_path, config=ANNEALED, resume=True)
    for weight, wanted in zip(weights, annealed[0], strict=True):
        np.testing.assert_array_equal(weight, wanted)
    assert without_seconds(history) == without_seconds(annealed[1])


def test_annealed_run_compiled_by_xla_ends_the_same(tmp_path):
    # Without dropout: XLA draws other random numbers from the same seed.
    ends = []
    for compiled in (False, True):
        model, _, stream = tiny_model(dropout=0.0)
        config = replace(ANNEALED, jit_compile=compiled)
        run_stage(model, stream, MemorySource(), TRAIN, HELD_OUT, config, tmp_path / str(compiled))
        ends.append(arrays_of(model.weights))
    for weight, wanted in zip(*ends, strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=0, atol=1e-5)


def test_schedule_trains_all_epochs_and_keeps_the_best(tmp_path):
    # The rate of test_early_stopping_keeps_the_best_weights, where patience runs out long before.
    config = StageConfig("rgb", learning_rate=0.5, batch_size=8, epochs=12, patience=1, schedule="cosine")
    _, history = train(tmp_path, config=config)
    losses = [row["val_loss"] for row in history.epochs]
    assert len(losses) == 12
    assert (history.best_epoch, history.best_loss) == (int(np.argmin(losses)) + 1, min(losses))
    assert any(later >= earlier for earlier, later in pairwise(losses))  # where patience would run out


def test_last_weights_are_kept_where_earlier_ones_were_better(tmp_path):
    config = StageConfig("rgb", learning_rate=0.5, batch_size=8, epochs=5, patience=1, keep="last")
    weights, history = train(tmp_path, config=config)
    losses = [row["val_loss"] for row in history.epochs]
    assert len(losses) == 5 and losses[-1] > min(losses)
    assert (history.best_epoch, history.best_loss) == (5, losses[-1])
    model, _, stream = tiny_model()
    for weight, value in zip(model.weights, weights, strict=True):
        weight.assign(value)
    inputs, labels = MemorySource().test_batch(HELD_OUT)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, stream(inputs, training=False))
    assert float(loss) == pytest.approx(losses[-1], rel=1e-5)
    again, record = train(tmp_path, config=config, source=Untouched(), resume=True)
    assert (record.best_epoch, record.best_loss) == (5, losses[-1])
    assert_same_end((again, record), (weights, history))


def test_smoothed_training_loss_by_hand_and_plain_validation_loss(tmp_path):
    # 8 clips in a batch of 8: the loss of the only step is that of the initial weights.
    config = StageConfig("rgb", learning_rate=1e-9, batch_size=8, epochs=1, label_smoothing=0.3)
    model, _, stream = tiny_model(dropout=0.0, norm=False)
    seen = {}

    class Watched(MemorySource):
        def training_batch(self, clip_ids, uniforms):
            seen["batch"] = super().training_batch(clip_ids, uniforms)
            return seen["batch"]

    history = run_stage(model, stream, Watched(), TRAIN[:8], HELD_OUT, config, tmp_path)

    def negative_log_probabilities(inputs):
        logits = np.array(stream(inputs, training=False), np.float64)
        return np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits

    inputs, labels = seen["batch"]
    wanted = [row @ [0.8 if index == label else 0.1 for index in range(3)] for row, label in
              zip(negative_log_probabilities(inputs), labels, strict=True)]  # fmt: skip
    assert history.epochs[0]["loss"] == pytest.approx(np.mean(wanted), rel=1e-5)
    inputs, labels = MemorySource().test_batch(HELD_OUT)
    rows = negative_log_probabilities(inputs)
    assert history.epochs[0]["val_loss"] == pytest.approx(rows[np.arange(10), labels].mean(), rel=1e-5)
    assert history.epochs[0]["val_accuracy"] == pytest.approx((rows.argmin(axis=1) == labels).mean(), abs=1e-6)


def test_smoothing_changes_what_is_learnt(annealed, tmp_path):
    weights, _ = train(tmp_path, config=replace(ANNEALED, label_smoothing=0.0))
    assert any(not np.array_equal(weight, other) for weight, other in zip(weights, annealed[0], strict=True))
