"""The body as a weighted graph over its joints, for graph convolutions.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.2, "Pose Backbone".
"""

from __future__ import annotations

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout


def bone_graph(layout: SkeletonLayout, *, bone: float = 5.0, other: float = 2.0) -> np.ndarray:
    """The adjacency matrix E of the paper, over the joints of a layout.

    Args:
        layout: joints and bones.
        bone: weight of two joints that a bone joins (α of the paper, 5 in section 4.1).
        other: weight of any other two joints (β, 2 there).

    Returns:
        float64 (J, J), symmetric, 0 on the diagonal.

    Raises:
        ConfigError: a negative weight.
    """
    _check_weights(bone=bone, other=other)
    graph = np.full((len(layout), len(layout)), float(other))
    _join(graph, layout.bones, bone)
    np.fill_diagonal(graph, 0)
    return graph


def official_graph(layout: SkeletonLayout, *, bone: float = 5.0, pair: float = 2.0) -> np.ndarray:
    """The adjacency matrix that the authors' published code uses in place of the paper's E.

    There, β joins six pairs of joints alone: hand and ankle, elbow and knee of each side, the two hands, the two elbows; all
    else is 0. Hands are those of the layout (wrists where it has no hands); a pair is left out where the layout lacks one of
    its joints. Thumbs hang on the hands there, not on the wrists as in `KINECT_V2`.

    Args:
        layout: joints and bones.
        bone: weight of two joints that a bone joins.
        pair: weight of the six pairs.

    Returns:
        float64 (J, J), symmetric, 0 on the diagonal.

    Raises:
        ConfigError: a negative weight.
    """
    _check_weights(bone=bone, pair=pair)
    named = {joint: index for index, joint in enumerate(layout.joints)}
    named |= {f"hand_{side}": hand for side, hand in zip(("left", "right"), layout.hands, strict=True)}
    hand_of = {named[thumb]: named[hand] for thumb, hand in _THUMBS if thumb in named}
    graph = np.zeros((len(layout), len(layout)))
    _join(graph, [(hand_of.get(child, parent), child) for parent, child in layout.bones], bone)
    _join(graph, [(named[a], named[b]) for a, b in _OFFICIAL_PAIRS if a in named and b in named], pair)
    return graph


_THUMBS = (("thumb_left", "hand_left"), ("thumb_right", "hand_right"))
_OFFICIAL_PAIRS = (
    ("hand_left", "ankle_left"),
    ("hand_right", "ankle_right"),
    ("elbow_left", "knee_left"),
    ("elbow_right", "knee_right"),
    ("hand_left", "hand_right"),
    ("elbow_left", "elbow_right"),
)


def normalised_adjacency(graph: np.ndarray) -> np.ndarray:
    """D^-1/2 (E + I) D^-1/2 of equation 1, D the diagonal matrix of the row sums of E + I.

    Args:
        graph: E, (J, J), symmetric, without negative weights.

    Returns:
        float64 (J, J), symmetric, eigenvalues within [-1, 1].

    Raises:
        ConfigError: E has another shape, is not symmetric, or has negative weights or such that are no finite numbers.
    """
    graph = np.asarray(graph, dtype=np.float64)
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1] or not len(graph):
        raise ConfigError("a graph over joints is a square matrix", found=f"shape {graph.shape}", expected="(joints, joints)")
    if not np.isfinite(graph).all() or (graph < 0).any() or (graph != graph.T).any():
        raise ConfigError(
            "the weights of a graph over joints are no adjacency matrix",
            found=f"values from {graph.min():g} to {graph.max():g}, {'' if (graph == graph.T).all() else 'not '}symmetric",
            expected="a symmetric matrix of finite weights of at least 0",
        )
    joined = graph + np.eye(len(graph))
    scale = 1 / np.sqrt(joined.sum(axis=1))
    return joined * np.outer(scale, scale)


def _join(graph: np.ndarray, pairs, weight: float) -> None:
    """Sets the weight of pairs of joints, in both directions."""
    for a, b in pairs:
        graph[a, b] = graph[b, a] = weight


def _check_weights(**weights: float) -> None:
    for name, weight in weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(f"the weight {name} of a graph over joints is out of range", found=weight, expected="at least 0")
