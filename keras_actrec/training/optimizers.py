"""The optimizer of a stage and the schedule of its learning rate."""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.training.config import StageConfig


def build_optimizer(config: StageConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer of a stage, with the learning rate of `learning_rate` and weight decay where there is some."""
    rate = learning_rate(config, steps_per_epoch)
    if config.decay == "coupled" and config.weight_decay:
        return CoupledSGD(rate, momentum=float(config.momentum), coupled_decay=config.weight_decay)
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=float(config.momentum), weight_decay=config.weight_decay or None)
    if config.weight_decay:
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.Adam(rate)


@keras.saving.register_keras_serializable(package="keras_actrec")
class CoupledSGD(keras.optimizers.SGD):
    """Stochastic gradient descent with weight decay in the gradient: v ← momentum · v - rate · (g + λθ), θ ← θ + v.

    `weight_decay` of Keras takes rate · λ off the variable itself, where momentum does not repeat it.

    Args:
        learning_rate: a number or a schedule.
        momentum: from 0 to 1.
        coupled_decay: λ, of every variable that trains.
        name: of the optimizer.
    """

    def __init__(self, learning_rate=0.01, momentum: float = 0.0, coupled_decay: float = 0.0, name: str = "coupled_sgd"):
        super().__init__(learning_rate, momentum=momentum, name=name)
        self.coupled_decay = float(coupled_decay)

    def update_step(self, gradient, variable, learning_rate):
        # The gradient is the sum over all devices here, so that the decay is added once.
        gradient = ops.cast(gradient, variable.dtype)
        super().update_step(ops.add(gradient, ops.multiply(variable, self.coupled_decay)), variable, learning_rate)

    def get_config(self):
        config = super().get_config()
        return {name: config[name] for name in ("name", "learning_rate", "momentum")} | {"coupled_decay": self.coupled_decay}


def learning_rate(config: StageConfig, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of a stage: a number, or a function of the optimizer's count of steps alone.

    That count is part of a checkpoint, so that a resumed stage meets the rates of an uninterrupted one. Step 0 of a warm-up has
    rate 0: it only fills the optimizer's moments.

    Args:
        config: schedule, rate, epochs.
        steps_per_epoch: batches of an epoch.
    """
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "step":
        return _steps(config, steps_per_epoch)
    rising, all_steps = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    if not rising:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, all_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, all_steps - rising, warmup_target=config.learning_rate, warmup_steps=rising
    )


def _steps(config: StageConfig, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """learning_rate · step_factor^(epoch // step_epochs), the rates and where they end as given numbers: nothing is divided."""
    falls = (config.epochs - 1) // config.step_epochs
    falls = min(falls, config.falls) if config.falls else falls
    if not falls:
        return config.learning_rate
    # Keras counts a boundary to what is before it.
    boundaries = [fall * config.step_epochs * steps_per_epoch - 1 for fall in range(1, falls + 1)]
    rates = [config.learning_rate * config.step_factor**fall for fall in range(falls + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
