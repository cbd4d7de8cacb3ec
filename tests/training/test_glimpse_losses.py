"""Losses on joints: hand-computed cases, loops over frames, numbers of the published code, gradients with missing joints."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.models.glimpse_clouds_config import PRESETS, GlimpseCloudsConfig, preset
from keras_actrec.training.glimpse_losses import (
    FORMS,
    GlimpseRegulariser,
    PoseAssignmentLoss,
    glimpse_attraction,
    glimpse_diversity,
    pose_assignment,
)
from keras_actrec.training.glimpse_objective import glimpse_clouds_objective

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "glimpse_losses.npz"
NAN = np.nan


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    """Numbers of the published code; people that it reads as absent are NaN here."""
    with np.load(REFERENCE) as stored:
        numbers = dict(stored)
    absent = (numbers["joints"] == -1).all(axis=(-2, -1))
    assert absent.sum() == 4 and not absent[:, :, 0].any()
    numbers["joints"][absent] = NAN
    return numbers


def frame(*people) -> np.ndarray:
    """Joints of one frame as a batch (1, 1, P, J, 2), or glimpses (1, 1, G, 2) where `people` are places."""
    return np.float32([[people]])


def with_gaps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (4, 3, 2, 5, 2) where people, joints, single coordinates, whole frames and a row are missing; predictions."""
    rng = np.random.default_rng(3)
    joints, pose = rng.uniform(-1, 1, (2, 4, 3, 2, 5, 2)).astype(np.float32)
    joints[0, 1, 1] = joints[0, 2, 0] = joints[1, 0] = joints[3] = NAN
    joints[1, 1, 0, 2] = joints[1, 2, 1, 4, 0] = joints[2, 0, 0, :4] = NAN
    return joints, pose, rng.uniform(-1, 1, (4, 3, 3, 4)).astype(np.float32)


def pose_by_loops(joints, pose, form):
    """Row → loss, over every assignment of the people that are there to the first predictions."""
    rows = np.zeros(len(joints))
    for row, step in np.ndindex(*joints.shape[:2]):
        people = [person for person in joints[row, step] if not np.isnan(person).any(axis=-1).all()]
        errors = [[np.nanmean(np.where(gap(p), NAN, (p - q) ** 2)) for q in pose[row, step]] for p in people]
        orders = list(itertools.permutations(range(len(people))))
        if form == "official" and len(people) == 2:
            orders = [(0, 1)] if errors[0][1] > errors[0][0] else [(1, 0)]
        rows[row] += min(sum(errors[i][j] for i, j in enumerate(order)) for order in orders)
    return rows


def attraction_by_loops(joints, places, form):
    rows = np.zeros(len(joints))
    for row, step in np.ndindex(*joints.shape[:2]):
        points = joints[row, step].reshape(-1, 2)
        points = points[~np.isnan(points).any(axis=-1)]
        for place in places[row, step] if len(points) else ():
            if form == "official":
                rows[row] += sum(min((place[axis] - point[axis]) ** 2 for point in points) for axis in (0, 1))
            else:
                rows[row] += min(np.hypot(*(place - point)) for point in points)
    return rows


def diversity_by_loops(places, form):
    rows = np.zeros(len(places))
    for row, step in np.ndindex(*places.shape[:2]):
        pairs = [one - other for one in places[row, step] for other in places[row, step]]
        spread = np.mean(np.square(pairs)) if form == "official" else sum(np.hypot(*pair) for pair in pairs)
        rows[row] += 1 / (1 + spread)
    return rows


def gap(joints):
    return np.isnan(joints).any(axis=-1, keepdims=True)


# Two people of one joint each.
TWO = frame([[0.0, 0.0]], [[1.0, 0.0]])


@pytest.mark.parametrize(
    ("joints", "pose", "paper", "official"),
    [
        # (0, 0) and (1, 0) exactly predicted, in either order.
        (TWO, frame([[0, 0]], [[1, 0]]), 0, 0),
        (TWO, frame([[1, 0]], [[0, 0]]), 0, 0),
        # Predictions 0.3 and -0.4: straight 0.3² / 2 + 1.4² / 2, crossed 0.4² / 2 + 0.7² / 2. The first person's nearer
        # prediction is the first.
        (TWO, frame([[0.3, 0]], [[-0.4, 0]]), (0.16 + 0.49) / 2, (0.09 + 1.96) / 2),
        # One person: the first prediction, whatever the second one says and wherever the person stands in the array.
        (frame([[0, 0]], [[NAN, NAN]]), frame([[1, 2]], [[0, 0]]), 2.5, 2.5),
        (frame([[NAN, NAN]], [[0, 0]]), frame([[1, 2]], [[0, 0]]), 2.5, 2.5),
        # A missing joint does not count, nor does one with half a coordinate.
        (frame([[0, 0], [NAN, NAN], [0, NAN]]), frame([[1, 2], [9, 9], [9, 9]]), 2.5, 2.5),
        (frame([[NAN, NAN]], [[NAN, NAN]]), frame([[1, 2]], [[3, 4]]), 0, 0),
    ],
)
def test_poses_by_hand(joints, pose, paper, official):
    for form, value in (("paper", paper), ("official", official)):
        assert float(pose_assignment(joints, pose, form)[0]) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("joints", "places", "paper", "official"),
    [
        # Joints (0, 0) and (3, 4) of two people. (3, 0): 3 from the first, 4 from the second; in each coordinate 0 from one.
        (frame([[0, 0]], [[3, 4]]), frame([3, 0]), 3, 0),
        (frame([[0, 0]], [[3, 4]]), frame([6, 8], [0, 1]), 5 + 1, (9 + 16) + 1),
        # Without the second, and without one joint of the first.
        (frame([[0, 0]], [[NAN, NAN]]), frame([6, 8]), 10, 100),
        (frame([[0, 0], [6, NAN]]), frame([6, 8]), 10, 100),
        (frame([[NAN, NAN]]), frame([6, 8]), 0, 0),
    ],
)
def test_attraction_by_hand(joints, places, paper, official):
    for form, value in (("paper", paper), ("official", official)):
        assert float(glimpse_attraction(joints, places, form)[0]) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("places", "paper", "official"),
    [
        (frame([0, 0], [3, 4]), 1 / (1 + 2 * 5), 1 / (1 + 2 * 25 / 8)),
        (frame([0, 0], [3, 4], [3, 4]), 1 / (1 + 4 * 5), 1 / (1 + 4 * 25 / 18)),
        (frame([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]), 1, 1),
        (frame([0.5, 0.5]), 1, 1),
    ],
)
def test_diversity_by_hand(places, paper, official):
    for form, value in (("paper", paper), ("official", official)):
        assert float(glimpse_diversity(places, form)[0]) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_equations_over_rows_and_frames_with_gaps(form):
    joints, pose, glimpses = with_gaps()
    attraction, diversity = attraction_by_loops(joints, glimpses[..., :2], form), diversity_by_loops(glimpses[..., :2], form)
    assert attraction[3] == 0 and pose_by_loops(joints, pose, form)[3] == 0
    assert pose_by_loops(joints, pose, "paper").sum() < pose_by_loops(joints, pose, "official").sum()
    np.testing.assert_allclose(PoseAssignmentLoss(form).call(joints, pose), pose_by_loops(joints, pose, form), rtol=1e-5)
    loss = GlimpseRegulariser(form, attraction=0.5, diversity=2.0)
    np.testing.assert_allclose(loss.call(joints, glimpses), 0.5 * attraction + 2 * diversity, rtol=1e-5)
    one = joints[:, :, :1]
    np.testing.assert_allclose(
        PoseAssignmentLoss(form).call(one, pose[:, :, :1]), pose_by_loops(one, pose[:, :, :1], form), rtol=1e-5
    )
    # Padding rows have weight 0, those of the others are 4 rows / 2 real rows.
    mean = float(loss(joints, glimpses, sample_weight=np.float32([2, 2, 0, 0])))
    assert mean == pytest.approx((0.5 * attraction + 2 * diversity)[:2].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "output", "loss"),
    [
        ("pose_loss", "pose", PoseAssignmentLoss("official")),
        ("regulariser", "glimpses", GlimpseRegulariser("official")),
        ("attraction", "glimpses", GlimpseRegulariser("official", diversity=0.0)),
        ("diversity", "glimpses", GlimpseRegulariser("official", attraction=0.0)),
    ],
)
def test_values_and_gradients_of_the_published_code(reference, name, output, loss):
    predictions = tf.constant(reference[output])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        rows = loss.call(tf.constant(reference["joints"]), predictions)
    np.testing.assert_allclose(rows, reference[name], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(rows, predictions), reference[f"{name}_gradient"], rtol=1e-4, atol=1e-6)


def test_the_published_code_assigns_by_the_first_person(reference):
    rows = pose_assignment(reference["joints"], reference["pose"], "paper")
    better = np.asarray(rows) < reference["pose_loss"] - 1e-3
    assert better[3] and not better[2]  # two people in every frame of the last row, one in every frame of the row before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_finite_whatever_is_missing(form, compiled):
    joints, pose, glimpses = with_gaps()
    glimpses[0] = 0.25  # all in one place
    glimpses[1, 1, 0, :2] = joints[1, 1, 1, 0]  # on a joint

    def gradients(joints, pose, glimpses):
        with tf.GradientTape() as tape:
            tape.watch((pose, glimpses))
            total = PoseAssignmentLoss(form)(joints, pose) + GlimpseRegulariser(form)(joints, glimpses)
        return total, *tape.gradient(total, (pose, glimpses))

    function = tf.function(gradients, jit_compile=True) if compiled else gradients
    total, of_pose, of_glimpses = (np.asarray(value) for value in function(*map(tf.constant, (joints, pose, glimpses))))
    assert np.isfinite(total) and np.isfinite(of_pose).all() and np.isfinite(of_glimpses).all()
    assert (of_pose[gap(joints).all(axis=(2, 3, 4))] == 0).all() and (of_pose[3] == 0).all()
    assert (of_glimpses[..., 2:] == 0).all()  # scales are free
    moved = np.abs(of_glimpses[..., :2]).sum(axis=(2, 3)) > 0
    assert moved[1:].all() and moved[0].all()  # row 0 by attraction alone, row 3 by diversity alone


@pytest.mark.parametrize(
    ("loss", "output"),
    [(PoseAssignmentLoss("official"), "pose"), (GlimpseRegulariser("official", attraction=0.5, diversity=0.25), "glimpses")],
)
def test_losses_are_the_same_after_saving(loss, output):
    saved = json.loads(json.dumps(keras.losses.serialize(loss)))
    assert saved["registered_name"] == f"keras_actrec>{type(loss).__name__}"
    loaded = keras.losses.deserialize(saved)
    assert type(loaded) is type(loss) and loaded.get_config() == loss.get_config()
    joints, pose, glimpses = with_gaps()
    prediction = {"pose": pose, "glimpses": glimpses}[output]
    assert float(loaded(joints, prediction)) == float(loss(joints, prediction)) != float(type(loss)()(joints, prediction))


JOINTS = np.zeros((2, 3, 2, 5, 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PoseAssignmentLoss("torch"), r"unknown form .*found 'torch', expected paper, official"),
        (lambda: GlimpseRegulariser("keras"), r"unknown form .*found 'keras', expected paper, official"),
        (lambda: GlimpseRegulariser(attraction=-1.0), r"weight of the attraction .*found -1.0, expected at least 0"),
        (lambda: GlimpseRegulariser(diversity=NAN), r"weight of the diversity .*found nan"),
        (lambda: PoseAssignmentLoss()(np.zeros(2), JOINTS), r"no joints \(found \(2,\).*targets of the objective"),
        (lambda: GlimpseRegulariser()(np.zeros((2, 3, 3, 5, 2)), np.zeros((2, 3, 3, 4))), r"no joints .*one or two people"),
        (lambda: PoseAssignmentLoss()(JOINTS, np.zeros((2, 3, 20))), r"shape of the joints \(found \(2, 3, 20\)"),
        (lambda: PoseAssignmentLoss()(JOINTS, np.zeros((2, 1, 2, 5, 2))), r"expected \(2, 3, 2, 5, 2\)"),
        (lambda: GlimpseRegulariser()(JOINTS, np.zeros((2, 3, 4))), r"no glimpses .*found \(2, 3, 4\)"),
        (lambda: GlimpseRegulariser()(JOINTS, np.zeros((2, 1, 3, 4))), r"expected \(B, 3, G, 4\)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("name", PRESETS)
def test_terms_of_the_presets(name):
    config = preset(name, 60)
    objective = glimpse_clouds_objective(config)
    wanted = {output for output, there in (("pose", config.pose_loss), ("glimpses", config.glimpse_loss)) if there}
    assert set(objective.losses) == set(objective.targets) == wanted
    assert set(objective.targets.values()) <= {"joints"} and all(loss.form == config.code for loss in objective.losses.values())


def test_weights_of_the_terms():
    objective = glimpse_clouds_objective(preset("glimpse_clouds_official", 60))
    assert dict(objective.weights) == {"logits": 1.0, "pose": 0.1, "glimpses": 1.0}
    assert (objective.losses["glimpses"].attraction, objective.losses["glimpses"].diversity) == (1.0, 1.0)
    objective = glimpse_clouds_objective(GlimpseCloudsConfig(60, pose_weight=0.3, glimpse_weight=0.02))
    assert dict(objective.weights) == {"logits": 1.0, "pose": 0.3, "glimpses": 0.02}
    assert objective.losses["pose"].form == objective.losses["glimpses"].form == "paper"
    assert list(glimpse_clouds_objective(preset("global", 60)).losses) == ["pose"]


def test_three_people_are_refused():
    with pytest.raises(ConfigError, match=r"one or two people \(found 3\)"):
        glimpse_clouds_objective(GlimpseCloudsConfig(60, people=3))
