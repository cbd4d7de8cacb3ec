"""What Glimpse Clouds minimises: classification, regression of poses, glimpses near the people.

Paper: Baradel et al., "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018, equation 14.
"""

from __future__ import annotations

from keras_actrec.errors import ConfigError
from keras_actrec.models.glimpse_clouds_config import GlimpseCloudsConfig
from keras_actrec.training.glimpse_losses import GlimpseRegulariser, PoseAssignmentLoss
from keras_actrec.training.objective import Objective

JOINTS = "joints"
"""Array of a batch that holds the joints, (B, T, P, J, 2) in [-1, 1], NaN where one is missing."""


def glimpse_clouds_objective(config: GlimpseCloudsConfig) -> Objective:
    """The loss of a variant, over the outputs of `keras_actrec.models.glimpse_clouds.glimpse_clouds`.

    Both forms: L_D + pose_weight · L_P + glimpse_weight · L_G, without the terms that the variant leaves out; the global model
    has no L_G. What L_P and L_G are, `config.code` says, see `glimpse_losses.py`.

    Raises:
        ConfigError: poses of more than two people.
    """
    losses, weights = {}, {"logits": 1.0}
    if config.pose_loss:
        if config.people > 2:
            raise ConfigError("the pose loss assigns predictions to one or two people", found=config.people)
        losses["pose"], weights["pose"] = PoseAssignmentLoss(config.code), config.pose_weight
    if config.glimpse_loss:
        losses["glimpses"], weights["glimpses"] = GlimpseRegulariser(config.code), config.glimpse_weight
    return Objective(weights, losses, targets=dict.fromkeys(losses, JOINTS))
