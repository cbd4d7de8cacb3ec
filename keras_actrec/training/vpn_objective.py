"""What VPN minimises: classification, spatial embedding, attention regulariser.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, equations 5 and 6.
"""

from __future__ import annotations

import keras

from keras_actrec.models.vpn_config import VPNConfig
from keras_actrec.training.losses import BatchSumToOne, MeanValue, SquaredShortfall, SquaredSum, SquaredValue
from keras_actrec.training.objective import Objective

_OFFICIAL_EMBEDDING_WEIGHT = 0.1


def vpn_objective(config: VPNConfig) -> Objective:
    """The loss of a variant, over the outputs of `keras_actrec.models.vpn.vpn`.

    "paper" (eq. 5 and 6): λ1 L_C + (1 - λ1) L_e + λ2 (Σ_j A_S(j)² + Σ_j (1 - A_T(j))²). Without the embedding L_C has weight λ1
    still, so that a learning rate means the same.

    "official": 99.9 L_C + 0.1 d² + λ2 [(1 - Σ A_S)² + (1 - Σ A_T)²], d the Manhattan distance of the embedding, sums over a
    whole batch of one device.
    """
    losses: dict[str, keras.losses.Loss] = {}
    official = config.code == "official"
    if config.embedding != "none":
        losses["embedding_distance"] = SquaredValue() if official else MeanValue()
    if config.has_pose:
        losses["spatial_attention"] = BatchSumToOne() if official else SquaredSum()
    if config.has_temporal_attention:
        losses["temporal_attention"] = BatchSumToOne() if official else SquaredShortfall()
    weights = {
        "logits": config.classification_weight,
        "embedding_distance": _OFFICIAL_EMBEDDING_WEIGHT if official else 1 - config.classification_weight,
        "spatial_attention": config.attention_penalty,
        "temporal_attention": config.attention_penalty,
    }
    return Objective({name: weights[name] for name in ("logits", *losses)}, losses)
