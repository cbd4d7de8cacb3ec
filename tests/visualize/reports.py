"""Reports of any number of classes, as `write_report_page` takes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_actrec.training import metrics
from keras_actrec.visualize.report_page import (
    AttentionReport,
    ConfusedPair,
    LeftOutClip,
    RunReport,
    StageCurves,
    StreamReport,
    TestedClip,
)

CLIPS = 5
"""Test clips of a class."""


def report(classes: int, *, attention: AttentionReport | None = None, seed: int = 0) -> RunReport:
    """A run of the two-stream network: pose alone recognises less than both together; class 1 is taken for class 0 twice."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), CLIPS)
    fused = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, classes, len(labels)))
    fused[labels == 1] = [0, 0, 1, 1, 1]
    pose = np.where(rng.random(len(labels)) < 0.6, fused, rng.integers(0, classes, len(labels)))
    names = tuple(f"class number {label}" for label in range(classes))
    tested = tuple(
        TestedClip(f"clip{i:04d}", int(label), {"pose": int(pose[i]), "fused": int(fused[i])}) for i, label in enumerate(labels)
    )
    epochs = np.arange(1.0, 13)
    curves = {"loss": 2 / epochs, "val_loss": 2.2 / epochs, "accuracy": 1 - 1 / epochs, "val_accuracy": epochs / 15}
    return RunReport(
        dataset="a <data> set",
        protocol="cross_subject",
        model="sta_hands",
        preset="sta_hands_paper",
        seed=3,
        class_names=names,
        streams=(stream("pose", "pose", labels, pose, classes), stream("fused", "pose + RGB", labels, fused, classes)),
        folds=(),
        curves=(StageCurves("pose", "", {"epoch": epochs, **curves}, 9),),
        attention=attention,
        clips={"train": 100, "validation": 7, "test": len(labels)},
        left_out=(LeftOutClip("clip9999", "test", "poses", "clip9999.skeleton: the file is <empty>"),),
        left_out_test=1,
        tested=tested,
        notes=("The clips are drawn by a program.",),
        further={"pooling": "mean"},
        configuration={"tensor.order": "topological", "augmentation.rotation": 0.0, "initial": None, "test_views": ["plain"]},
        weights={"name": "inception_v3"},
        command="python experiments/ntu_pose_rgb.py --workdir …/run",
        versions={"python": "3.11"},
        seconds=322.0,
    )


def stream(name: str, title: str, labels: np.ndarray, predictions: np.ndarray, classes: int) -> StreamReport:
    matrix = metrics.confusion_matrix(labels, predictions, classes)
    wrong = np.flatnonzero(labels != predictions)
    pairs = sorted({(int(labels[i]), int(predictions[i])) for i in wrong}, key=lambda pair: (-matrix[pair], pair))
    confused = tuple(
        ConfusedPair(*pair, tuple(f"clip{i:04d}" for i in wrong if (labels[i], predictions[i]) == pair)) for pair in pairs
    )
    accuracy = metrics.accuracy(matrix)
    return StreamReport(
        name, title, accuracy, metrics.mean_class_accuracy(matrix), metrics.macro_f1(matrix), None,
        accuracy * len(labels) / (len(labels) + 1), matrix, confused,
    )  # fmt: skip


def attentive(model: str, classes: int, **shapes: tuple[int, ...]) -> AttentionReport:
    """Attention of random shares, each class different."""
    rng = np.random.default_rng(1)
    clips = np.full(classes, CLIPS)
    values = {}
    for name, shape in shapes.items():
        array = rng.uniform(0.05, 1, (classes, *shape)) ** 3
        axes = -1 if name in ("hands", "workers") else tuple(range(1, array.ndim))
        values[name.replace("__", ".")] = (array / array.sum(axis=axes, keepdims=True)).astype(np.float32)
    return AttentionReport(model, clips, values)


def of_model(model: str, classes: int, attention: AttentionReport | None) -> RunReport:
    """`report` under the name of another network."""
    return replace(report(classes, attention=attention), model=model)
