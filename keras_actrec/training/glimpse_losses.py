"""Losses of Glimpse Clouds whose target is the joints of the people: pose regression, and where glimpses should be.

Paper: Baradel et al., "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018, section 5,
equations 14 to 17. `form` chooses between them ("paper") and the published code ("official"), which computes other terms.

Joints are float (B, T, P, J, 2) in the coordinates of the output, P 1 or 2, NaN where a joint is missing: a person without any
joint in a frame is absent from it. Every function gives one value per row (B,), summed over the frames, and its gradients are
finite whatever is missing: padding rows have weight 0, which takes no NaN out of a sum.
"""

from __future__ import annotations

from math import isfinite

import keras
from keras import ops

from keras_actrec.errors import ConfigError

FORMS = ("paper", "official")

_FAR = 1e30
"""Squared distance of a joint that is missing."""


def pose_assignment(joints, pose, form: str = "paper"):
    """Squared error of predicted poses, each person compared with the prediction that is meant for it.

    The error of a person is the mean over the coordinates of the joints that are there; a frame's is the sum over its people.
    Which prediction belongs to which of two people is free: "paper" takes the assignment with the smaller sum, "official" the
    one that gives the first person its nearer prediction. A person who is alone in a frame has the first prediction.

    Args:
        joints: (B, T, P, J, 2), see above.
        pose: predictions (B, T, P, J, 2).
        form: "paper" or "official".

    Returns:
        (B,).
    """
    joints, there = _cleaned(joints)
    error = ops.square(joints[:, :, :, None] - pose[:, :, None])  # (B, T, person, prediction, J, 2)
    error = ops.sum(ops.where(there[:, :, :, None, :, None], error, 0.0), axis=(-2, -1))
    counts = ops.sum(ops.cast(there, error.dtype), axis=-1)  # joints of each person (B, T, P)
    error = error / ops.maximum(2.0 * counts, 1.0)[..., None]
    alone = ops.sum(error[..., 0], axis=-1)  # absent people add 0
    if joints.shape[2] == 1:
        return ops.sum(alone, axis=1)
    straight = error[..., 0, 0] + error[..., 1, 1]
    crossed = error[..., 0, 1] + error[..., 1, 0]
    if form == "official":
        both = ops.where(error[..., 0, 1] > error[..., 0, 0], straight, crossed)
    else:
        both = ops.minimum(straight, crossed)
    return ops.sum(ops.where(ops.all(counts > 0, axis=-1), both, alone), axis=1)


def glimpse_attraction(joints, places, form: str = "paper"):
    """How far glimpses are from the people; 0 in a frame without anyone.

    "paper", equation 16: Σ_g min_j ‖l_g - y_j‖ over the joints of all people. "official": Σ_g Σ_coordinates min_j (l_g - y_j)²,
    the minimum taken in each coordinate for itself, so that two joints may be nearest at once.

    Args:
        joints: (B, T, P, J, 2), see above.
        places: x, y of the glimpses (B, T, G, 2).
        form: "paper" or "official".

    Returns:
        (B,), equation 17 for this term.
    """
    joints, there = _cleaned(joints)
    rows, frames, people, points, _ = ops.shape(joints)
    joints = ops.reshape(joints, (rows, frames, 1, people * points, 2))
    there = ops.reshape(there, (rows, frames, 1, people * points))
    squares = ops.square(places[:, :, :, None] - joints)  # (B, T, G, P·J, 2)
    if form == "official":
        distances = ops.sum(ops.min(ops.where(there[..., None], squares, _FAR), axis=-2), axis=-1)
    else:
        distances = _root(ops.min(ops.where(there, ops.sum(squares, axis=-1), _FAR), axis=-1))
    distances = ops.where(ops.any(there, axis=-1), distances, 0.0)  # (B, T, G)
    return ops.sum(distances, axis=(1, 2))


def glimpse_diversity(places, form: str = "paper"):
    """How close the glimpses of a frame are to each other, from 1 (in one place) down to 0.

    "paper", equation 15: 1 / (1 + Σ_g1 Σ_g2 ‖l_g1 - l_g2‖), each pair counted twice, as it stands there. "official":
    1 / (1 + m), m the mean of the squared differences over all G² pairs and both coordinates. Neither has a gradient for
    glimpses that are in one place.

    Args:
        places: x, y of the glimpses (B, T, G, 2).
        form: "paper" or "official".

    Returns:
        (B,), equation 17 for this term.
    """
    squares = ops.square(places[:, :, :, None] - places[:, :, None])  # (B, T, G, G, 2)
    official = form == "official"
    spread = ops.mean(squares, axis=(2, 3, 4)) if official else ops.sum(_root(ops.sum(squares, axis=-1)), axis=(2, 3))
    return ops.sum(1.0 / (1.0 + spread), axis=1)


class _JointLoss(keras.losses.Loss):
    """What the losses of this file share: the form, a name that is the same for every instance, and checked joints."""

    def __init__(self, form: str, reduction: str, name: str | None):
        if form not in FORMS:
            raise ConfigError("unknown form of a loss of Glimpse Clouds", found=repr(form), expected=", ".join(FORMS))
        super().__init__(name=name or type(self).__name__, reduction=reduction)
        self.form = form

    def get_config(self):
        return {**super().get_config(), "form": self.form}


@keras.saving.register_keras_serializable(package="keras_actrec")
class PoseAssignmentLoss(_JointLoss):
    """`pose_assignment` of an output (B, T, P, J, 2), L_P of equation 14; target: joints (B, T, P, J, 2).

    Args:
        form: "paper" or "official".

    Raises:
        ConfigError: an unknown form; when it is called: a target that is not of the output's shape, more than two people.
    """

    def __init__(self, form: str = "paper", *, reduction: str = "sum_over_batch_size", name: str | None = None):
        super().__init__(form, reduction, name)

    def call(self, y_true, y_pred):
        _check_joints(self.name, y_true)
        if len(y_pred.shape) != 5 or tuple(y_pred.shape[1:]) != tuple(y_true.shape[1:]):
            raise ConfigError(
                f"{self.name}: the predicted poses are not of the shape of the joints",
                found=tuple(y_pred.shape), expected=tuple(y_true.shape),
            )  # fmt: skip
        return pose_assignment(y_true, y_pred, self.form)


@keras.saving.register_keras_serializable(package="keras_actrec")
class GlimpseRegulariser(_JointLoss):
    """attraction · `glimpse_attraction` + diversity · `glimpse_diversity`, L_G of equation 17.

    Output: glimpses (B, T, G, 2 or more), x and y first. Target: joints (B, T, P, J, 2).

    Args:
        form: "paper" or "official".
        attraction, diversity: weights of the two terms, at least 0; 1 in the paper and in the published code.

    Raises:
        ConfigError: an unknown form, a weight below 0; when it is called: a target or an output of another shape.
    """

    def __init__(
        self,
        form: str = "paper",
        *,
        attraction: float = 1.0,
        diversity: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(form, reduction, name)
        for term, weight in (("attraction", attraction), ("diversity", diversity)):
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"the weight of the {term} of glimpses is out of range", found=weight, expected="at least 0")
        self.attraction, self.diversity = float(attraction), float(diversity)

    def call(self, y_true, y_pred):
        _check_joints(self.name, y_true)
        if len(y_pred.shape) != 4 or y_pred.shape[1] != y_true.shape[1] or y_pred.shape[3] < 2:
            raise ConfigError(
                f"{self.name}: the output is no glimpses of the frames of the joints", found=tuple(y_pred.shape),
                expected=f"(B, {y_true.shape[1]}, G, 4), x and y first",
            )  # fmt: skip
        places = y_pred[..., :2]
        attraction = glimpse_attraction(y_true, places, self.form)
        return self.attraction * attraction + self.diversity * glimpse_diversity(places, self.form)

    def get_config(self):
        return {**super().get_config(), "attraction": self.attraction, "diversity": self.diversity}


def _check_joints(name: str, joints) -> None:
    shape = tuple(joints.shape)
    if len(shape) != 5 or shape[-1] != 2 or shape[2] not in (1, 2):
        raise ConfigError(
            f"{name}: the target is no joints", found=shape, expected="(B, T, P, J, 2) with one or two people",
            fix="name the array of joints in the targets of the objective",
        )  # fmt: skip


def _cleaned(joints):
    """Joints (…, 2) with 0 in place of those with a NaN, and which are there (…): NaN must not reach a gradient."""
    there = ops.logical_not(ops.any(ops.isnan(joints), axis=-1))
    return ops.where(there[..., None], joints, 0.0), there


def _root(squares):
    """√, with gradient 0 at 0, where a distance has none."""
    positive = squares > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
