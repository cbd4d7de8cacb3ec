"""What RPAN minimises: the class at every step, and attention maps that lie on the joints.

Paper: Du et al., "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
equation 11. Its weight decay is a matter of the optimizer: `StageConfig(optimizer="sgd", weight_decay=5e-4, decay="coupled")`.
"""

from __future__ import annotations

import keras

from keras_actrec.models.rpan_config import RPANConfig
from keras_actrec.training.objective import LABELS, Objective
from keras_actrec.training.rpan_losses import HeatMapLoss, StepwiseCrossEntropy

JOINTS = "joints"
"""Array of a batch that holds the joints of the first person, (B, T, J, 2) in [-1, 1], NaN where one is missing."""


def rpan_objective(config: RPANConfig) -> Objective:
    """The loss of a variant, over the outputs of `keras_actrec.models.rpan.rpan`.

    action_weight · L_action + pose_weight · L_pose, the latter only where joints guide the attention. The prediction of the
    last step, "logits", has weight 0: it is among the steps of L_action, and only its accuracy is watched.
    """
    losses: dict[str, keras.losses.Loss] = {"step_logits": StepwiseCrossEntropy()}
    weights, targets = {"logits": 0.0, "step_logits": config.action_weight}, {"step_logits": LABELS}
    if config.has_pose_loss:
        losses["attention"] = HeatMapLoss(config.picture_size, config.heat_map_std)
        weights["attention"], targets["attention"] = config.pose_weight, JOINTS
    return Objective(weights, losses, targets)
