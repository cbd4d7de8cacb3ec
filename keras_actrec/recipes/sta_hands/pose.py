"""The pose stream on its own, on any data set, over all folds of a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.folds import run_protocols
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.run import run_experiment
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION, AugmentationConfig
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.views import VIEWS
from keras_actrec.training.config import StageConfig

PAPER, TUNED = "paper", "tuned"
SETTINGS = (PAPER, TUNED)


@dataclass(frozen=True)
class PoseTask:
    """How a data set is used for poses alone.

    Attributes:
        protocols: the protocols of its usual measurement; more than one are folds whose accuracies are averaged.
        people: most people in a clip that matter.
        layout: joint layout that clips are retargeted to; None keeps the data set's own. Needed where it has no spine.
        scale: "body" for poses in pixels or in no known unit.
        epochs: of the tuned settings: more of them for fewer clips.
        augmentation: of the tuned settings.
    """

    protocols: tuple[str, ...]
    people: int = 2
    layout: str | None = None
    scale: str = "none"
    epochs: int = 100
    augmentation: AugmentationConfig = AugmentationConfig()


_ONE_VIEW = AugmentationConfig(rotation=45.0, tilt=10.0, window=0.7)
_OTHER_VIEWS = AugmentationConfig(rotation=90.0, joint_noise=0.05)  # tested from a side that training has not seen

TASKS: Mapping[str, PoseTask] = MappingProxyType({
    "ntu_rgbd": PoseTask(("cross_subject",)),
    "ntu_rgbd_120": PoseTask(("cross_subject",)),
    "synthetic_ntu": PoseTask(("cross_subject",)),
    "msr_daily": PoseTask(("cross_subject",)),
    "sbu": PoseTask(tuple(f"fold{k}" for k in range(1, 6)), epochs=250, augmentation=_ONE_VIEW),
    "nucla": PoseTask(("view3",), people=1, epochs=120, augmentation=_OTHER_VIEWS),
    "smarthome": PoseTask(("cross_subject",), people=1, layout="jhmdb_15", scale="body"),
    "smarthome_cross_view": PoseTask(("cross_view2",), people=1, layout="jhmdb_15", scale="body"),
    "jhmdb": PoseTask(tuple(f"split{k}" for k in range(1, 4)), people=1, scale="body"),
    "sub_jhmdb": PoseTask(tuple(f"split{k}" for k in range(1, 4)), people=1, scale="body"),
    "penn_action": PoseTask(("official",), people=1, layout="jhmdb_15", scale="body", epochs=60, augmentation=_ONE_VIEW),
})  # fmt: skip
"""Data set name → how its poses are used. Data of one's own: see `PoseTask`."""


def task_of(name: str, dataset: ActionDataset) -> PoseTask:
    """How the poses of a data set are used: `TASKS`; for data of one's own the first protocol, in body sizes, and retargeted
    to the 15 joints of JHMDB where the layout has no middle of the spine to be the origin (COCO, OpenPose, MediaPipe).

    Args:
        name: name in `keras_actrec.datasets.catalogue`.
        dataset: the data set, opened.
    """
    if name in TASKS:
        return TASKS[name]
    layout = None if "spine_mid" in dataset_layout(dataset).joints else JHMDB_15.name
    return PoseTask(tuple(dataset.protocols())[:1], layout=layout, scale="body")


def pose_experiment(task: PoseTask, settings: str, workdir: Path, *, seed: int = 0) -> Experiment:
    """The experiment behind the two settings of the pose scripts.

    paper: the network and training of the paper (section 4) without augmentation, everything in metres as it is, unless the
        data have no metres. The paper's two people in every tensor.
    tuned: residual temporal pose network, augmentation, people that the data have, body size divided out, cosine schedule to
        the last epoch, mirrored and swapped test views. Chosen on held-out training clips, see docs/results.md.

    Raises:
        ConfigError: unknown settings.
    """
    if settings not in SETTINGS:
        raise ConfigError("unknown settings", found=repr(settings), expected=" or ".join(SETTINGS))
    common = {"workdir": workdir, "protocol": task.protocols[0], "layout": task.layout, "seed": seed, "settings": settings}
    if settings == PAPER:
        return Experiment(
            **common,
            preset="table6_a",
            tensor=PoseTensorConfig(scale=task.scale),
            augmentation=NO_AUGMENTATION,
            pose_stage=StageConfig(name="pose", epochs=150, patience=15, seed=seed, checkpoint_seconds=60),
            strategy="none",
        )
    return Experiment(
        **common,
        preset="pose_res_tcn",
        tensor=PoseTensorConfig(order="no_repeats", people=task.people, scale="body"),
        augmentation=task.augmentation,
        test_views=VIEWS if task.people == 2 else VIEWS[:2],
        pose_stage=StageConfig(
            name="pose", learning_rate=1e-3, epochs=task.epochs, batch_size=32, seed=seed, checkpoint_seconds=60,
            schedule="cosine", warmup_epochs=min(5, task.epochs - 1), weight_decay=0.05, label_smoothing=0.1, keep="last",
        ),
        strategy="none",
    )  # fmt: skip


def run_folds(dataset: ActionDataset, experiment: Experiment, protocols: Sequence[str], *, name: str = "") -> dict[str, object]:
    """Runs one protocol after the other on shared caches and averages what they found.

    Files below `workdir`: metrics.json (mean over folds of every metric), report.html, and a folder with the files of
    `run_experiment` for each protocol, where there are more than one.

    Args:
        dataset: the clips.
        experiment: what is done with them; its own protocol does not count.
        protocols: what is averaged.
        name: what they are together, in result files; "" gives e.g. "5-fold". One protocol alone keeps its own.

    Returns:
        The content of metrics.json. Its "folds" hold the accuracies one by one.

    Raises:
        ActrecError: see `run_experiment`.
    """
    return run_protocols(experiment, protocols, lambda one: run_experiment(dataset, one).metrics, name=name)
