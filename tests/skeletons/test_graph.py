from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.graph import bone_graph, normalised_adjacency, official_graph
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V1, KINECT_V2, LAYOUTS, SBU_15

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)

# Kinect v2's joints by number, counted from 0, as the authors' code joins them: both finger joints hang on the hand.
OFFICIAL_BONES = """0-1 1-20 20-2 2-3 20-4 4-5 5-6 6-7 7-21 7-22 20-8 8-9 9-10 10-11 11-23 11-24
    0-12 12-13 13-14 14-15 0-16 16-17 17-18 18-19"""
OFFICIAL_PAIRS = "7-14 11-18 5-13 9-17 7-11 5-9"


def joined(pairs: str, weight: float, joints: int) -> np.ndarray:
    graph = np.zeros((joints, joints))
    for pair in pairs.split():
        a, b = map(int, pair.split("-"))
        graph[a, b] = graph[b, a] = weight
    return graph


def pairs_of(graph: np.ndarray, weight: float) -> int:
    return int((graph == weight).sum()) // 2


@every_layout
def test_the_paper_joins_every_pair(layout):
    """e_ij of section 3.2: 0 for i = j, α for a bone, β otherwise; α = 5 and β = 2 in section 4.1."""
    graph = bone_graph(layout)
    joints = len(layout)
    for i in range(joints):
        for j in range(joints):
            bone = layout.parents[i] == j or layout.parents[j] == i
            assert graph[i, j] == (0 if i == j else 5 if bone else 2)
    assert graph.dtype == np.float64


def test_weights_of_bone_graph_can_be_chosen():
    graph = bone_graph(SBU_15, bone=1.5, other=0)
    assert pairs_of(graph, 1.5) == 14
    assert graph.sum() == 2 * 14 * 1.5


def test_official_graph_is_that_of_the_published_code():
    expected = joined(OFFICIAL_BONES, 5, 25) + joined(OFFICIAL_PAIRS, 2, 25)
    graph = official_graph(KINECT_V2)
    np.testing.assert_array_equal(graph, expected)
    # Sums of rows, by hand: a hand has three bones and two pairs, an elbow and a knee two bones and pairs, an ankle one pair.
    sums = dict(zip(KINECT_V2.joints, graph.sum(axis=1), strict=True))
    assert sums["hand_left"] == sums["hand_right"] == 5 + 5 + 5 + 2 + 2
    assert sums["elbow_left"] == sums["elbow_right"] == 5 + 5 + 2 + 2
    assert sums["knee_left"] == sums["ankle_right"] == 5 + 5 + 2
    assert sums["thumb_left"] == sums["hand_tip_right"] == sums["head"] == 5
    assert graph.sum() == 2 * (24 * 5 + 6 * 2)


@pytest.mark.parametrize(("layout", "pairs"), [(KINECT_V1, 6), (JHMDB_15, 6), (SBU_15, 4)], ids=lambda x: getattr(x, "name", x))
def test_official_pairs_follow_the_names_of_joints(layout, pairs):
    """JHMDB's hands are wrists; SBU's bodies end in feet, so that hand and ankle make no pair."""
    graph = official_graph(layout, bone=7, pair=3)
    assert pairs_of(graph, 7) == len(layout) - 1
    assert pairs_of(graph, 3) == pairs
    left, right = layout.hands
    assert graph[left, right] == graph[layout.index("elbow_left"), layout.index("elbow_right")] == 3
    assert graph[layout.index("elbow_right"), layout.index("knee_right")] == 3
    assert graph[layout.index("elbow_right"), layout.index("knee_left")] == 0


@every_layout
@pytest.mark.parametrize("make", [bone_graph, official_graph])
def test_normalised_adjacency_is_that_of_equation_1(make, layout):
    graph = make(layout)
    normalised = normalised_adjacency(graph)
    joined = graph + np.eye(len(layout))
    degrees = np.diag(joined.sum(axis=1))
    inverse_root = np.linalg.inv(np.sqrt(degrees))
    np.testing.assert_allclose(normalised, inverse_root @ joined @ inverse_root, rtol=1e-12)
    np.testing.assert_array_equal(normalised, normalised.T)
    # D^-1/2 (E + I) D^-1/2 · D^1/2 1 = D^-1/2 (row sums) = D^1/2 1: eigenvalue 1, and none is larger.
    vector = np.sqrt(joined.sum(axis=1))
    np.testing.assert_allclose(normalised @ vector, vector, rtol=1e-12)
    assert np.abs(np.linalg.eigvalsh(normalised)).max() <= 1 + 1e-12


def test_normalised_adjacency_by_hand():
    # E + I = [[1, 3], [3, 1]]: both degrees 4.
    np.testing.assert_allclose(normalised_adjacency([[0, 3], [3, 0]]), [[0.25, 0.75], [0.75, 0.25]])


@pytest.mark.parametrize("make", [bone_graph, official_graph])
@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_weights_are_checked(make, weight):
    with pytest.raises(ConfigError, match=r"the weight bone of a graph over joints is out of range.*expected at least 0"):
        make(KINECT_V2, bone=weight)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (np.zeros((2, 3)), r"is a square matrix \(found shape \(2, 3\), expected \(joints, joints\)\)"),
        (np.zeros(4), "is a square matrix"),
        ([[0, 1], [2, 0]], r"no adjacency matrix \(found values from 0 to 2, not symmetric"),
        ([[0, -1], [-1, 0]], r"no adjacency matrix \(found values from -1 to 0, symmetric"),
        ([[0, np.inf], [np.inf, 0]], "no adjacency matrix"),
    ],
    ids=str,
)
def test_what_is_no_graph_is_refused(graph, message):
    with pytest.raises(ConfigError, match=message):
        normalised_adjacency(graph)
