"""The main experiment: pose + RGB on NTU RGB+D, from its files or from a synthetic stand-in, to metrics and an export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from keras_actrec.backbones.sensors import SensorConfig, build_sensor
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import DatasetError, WeightsError
from keras_actrec.extraction.workers import share_gpus
from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.run import run_experiment
from keras_actrec.recipes.together import SHARED_DISK, chief_alone, connected
from keras_actrec.synthetic.actions import SYNTHETIC_ACTIONS, synthetic_class_names
from keras_actrec.synthetic.dataset import SyntheticConfig, write_synthetic_ntu
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import Evaluation

log = logging.getLogger(__name__)


class SyntheticNTU(NTURGBD):
    """The synthetic data set, which has the formats of NTU RGB+D."""

    name = "synthetic_ntu"

    def __init__(self, root: Path):
        super().__init__(root, class_names=synthetic_class_names())


@dataclass(frozen=True)
class TwoStreamExperiment(Experiment):
    """An experiment on NTU RGB+D.

    Attributes:
        data_root: folder of the NTU RGB+D files; None makes the synthetic data set of `synthetic` below the caches.
        synthetic: what the synthetic data set is, where there is no data root.
    """

    data_root: Path | None = None
    synthetic: SyntheticConfig = SyntheticConfig()


def embedded_default(workdir: Path) -> TwoStreamExperiment:
    """The experiment without a data root: same path, sized for two CPU cores and a few minutes.

    What differs from the paper's settings: crops are resized to 91×91 instead of 299×299, a larger learning rate for fewer
    epochs, smaller batches, and a larger hold-out, as 5 % of so few clips say nothing.
    """
    return TwoStreamExperiment(
        workdir=workdir,
        sensor=SensorConfig(image_size=91),
        pose_stage=StageConfig(name="pose", learning_rate=5e-4, batch_size=32, epochs=20, patience=8, checkpoint_seconds=60),
        rgb_stage=StageConfig(name="rgb", learning_rate=3e-4, batch_size=32, epochs=24, patience=8, checkpoint_seconds=60),
        holdout=0.1,
    )


def run_two_stream(experiment: TwoStreamExperiment) -> ExperimentResult:
    """Opens the data set and runs the whole job, see `run_experiment`.

    Raises:
        ActrecError: see `run_experiment`; and a data root without clips.
    """
    if experiment.workers > 1:
        share_gpus()
    connected(experiment.strategy)
    experiment = _with_available_weights(experiment)
    dataset = _open_dataset(experiment)
    return run_experiment(dataset, experiment, extra=accuracy_by_kind if experiment.data_root is None else None)


def _with_available_weights(experiment: TwoStreamExperiment) -> TwoStreamExperiment:
    """Tries the sensor's weights before anything long starts; the synthetic data set alone may fall back to random ones."""
    if not experiment.uses_video or experiment.sensor.weights == "random":
        return experiment  # nothing to find; the extraction builds the network
    try:
        build_sensor(experiment.sensor)
        return experiment
    except WeightsError as error:
        if experiment.data_root is not None or experiment.sensor.weights != "imagenet":
            raise
        warnings.warn(
            f"the synthetic default goes on with RANDOM sensor weights, which say nothing about real data: {error}",
            stacklevel=3,
        )
        return replace(experiment, sensor=replace(experiment.sensor, weights="random"))
    finally:
        keras.backend.clear_session()


def _open_dataset(experiment: TwoStreamExperiment) -> NTURGBD:
    if experiment.data_root is not None:
        dataset = NTURGBD(experiment.data_root, modality="both" if experiment.uses_video else "skeleton")
        log.info("%s\n%s", dataset.root, dataset.counts().to_string(na_rep="-"))
        return dataset
    return open_synthetic(experiment.caches, experiment.synthetic, strategy=experiment.strategy)


def open_synthetic(caches: Path, config: SyntheticConfig, *, strategy: str = "none") -> SyntheticNTU:
    """Makes the synthetic data set below a folder of caches, or finds it there. Of the workers of a strategy the chief does.

    Raises:
        DiskFullError: no space left.
        DatasetError: another data set is there; or, on another worker, none: the folder is on no disk that it shares.
    """
    root = caches / "synthetic_ntu"
    chief_alone(strategy, lambda: str(write_synthetic_ntu(root, config, workers=2)))
    if not root.is_dir():
        raise DatasetError("the synthetic data set that the first worker has made is not here", file=root, fix=SHARED_DISK)
    dataset = SyntheticNTU(root)
    log.info("%s\n%s", dataset.root, dataset.counts().to_string(na_rep="-"))
    return dataset


def accuracy_by_kind(evaluation: Evaluation) -> Mapping[str, object]:
    """Accuracy on the synthetic classes by what tells them apart: stream → kind → accuracy."""
    kinds = [SYNTHETIC_ACTIONS[label].kind for label in evaluation.labels]
    table: dict[str, dict[str, float]] = {}
    for stream in evaluation.scores:
        hits = evaluation.predictions(stream) == evaluation.labels
        table[stream] = {
            kind: float(sum(hit for hit, k in zip(hits, kinds, strict=True) if k == kind) / kinds.count(kind))
            for kind in dict.fromkeys(kinds)
        }
    return {"accuracy_by_kind": table}
