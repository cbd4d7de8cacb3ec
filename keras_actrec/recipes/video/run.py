"""What every run of a video network shares (VPN, Glimpse Clouds, RPAN): how it begins, its caches, what it leaves behind."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import keras
import tensorflow as tf

from keras_actrec.cache.schema import flatten, load_index
from keras_actrec.datasets.record import ActionDataset, LeftOut, Split
from keras_actrec.errors import WeightsError
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.extraction.workers import share_gpus
from keras_actrec.pipelines.clip_source import ClipSource
from keras_actrec.recipes.parts import Parts, listed_parts, protocol_split
from keras_actrec.recipes.reports import Extra, write_results
from keras_actrec.recipes.together import check_same_run, whole_report
from keras_actrec.recipes.video.experiment import AnyVideoExperiment
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.training.results import RunDescription
from keras_actrec.training.stages import StageHistory
from keras_actrec.training.strategies import build_strategy
from keras_actrec.training.workers import Workers

Backbone = TypeVar("Backbone")


@dataclass(frozen=True, eq=False)
class VideoRun(Generic[AnyVideoExperiment]):
    """A run that has begun.

    Attributes:
        dataset: the clips, with videos.
        experiment: what is done with them.
        split: both sides of its protocol.
        strategy: under whose `scope()` models are built.
        started: when, `time.monotonic()`.
    """

    dataset: ActionDataset
    experiment: AnyVideoExperiment
    split: Split
    strategy: tf.distribute.Strategy
    started: float

    @property
    def workers(self) -> Workers:
        """The processes that run this together, or the one that does."""
        return Workers.of(self.strategy)

    # Caches -------------------------------------------------------------------------------------------------------------------

    @property
    def extraction(self) -> dict[str, Any]:
        """Options that all extractions have in common: each worker of the run writes its share, see `whole`."""
        one, workers = self.experiment, self.workers
        share = (workers.index, workers.count)
        return {"workers": one.workers, "progress": True, "share": share, "retry_left_out": one.retry_left_out}

    def whole(self, report: ExtractionReport) -> ExtractionReport:
        """Waits until all workers have written their shares of a cache; the report with the left-out clips of all of them."""
        return whole_report(self.workers, report, self.labels)

    @property
    def labels(self) -> dict[str, int]:
        """Clip id → label."""
        return {record.clip_id: record.label for record in self.dataset.records}

    @property
    def poses(self) -> Path:
        """Folder of the pose cache."""
        return self.experiment.caches / "poses"

    @property
    def cleaning(self) -> dict[str, object]:
        """How the poses of the cache were cleaned."""
        return dict(load_index(self.poses).options.options["cleaning"])

    def extract_poses(self) -> ExtractionReport:
        """Writes what is missing of the pose cache."""
        layout = LAYOUTS[self.experiment.layout] if self.experiment.layout else None
        return self.whole(extract_poses(self.dataset, self.poses, layout=layout, **self.extraction))

    def extract_person_clips(self, clips: Path, crop: PersonCropConfig) -> ExtractionReport:
        """Writes what is missing of the person clips in the folder `clips`."""
        pixel_size = self.experiment.pixel_size
        return self.whole(
            extract_person_clips(self.dataset, self.poses, clips, crop=crop, pixel_size=pixel_size, **self.extraction)
        )

    def left_out(self, reports: Iterable[ExtractionReport]) -> tuple[LeftOut, ...]:
        """Clips without what the run needs, and why: those of the data set's files and of the extractions.

        A clip that several of them left out, as two do that read its video, stands there once, with what was noticed first.
        """
        found = (*self.dataset.left_out, *(clip for report in reports for clip in report.left_out))
        first: dict[str, LeftOut] = {}
        for clip in found:
            first.setdefault(clip.clip_id, clip)
        return tuple(first.values())

    def parts(self, source: ClipSource, left_out: Sequence[LeftOut]) -> Parts:
        """Clips of training, validation and test; see `listed_parts`."""
        return listed_parts(self.dataset, self.split, source, left_out, self.experiment, self.workers)

    # What decides the result, and what is left behind -------------------------------------------------------------------------

    def decisive(self, settings: Mapping[str, object]) -> dict[str, object]:
        """What a resumed stage has to share beside what `run_stage` knows: else one preset's weights went by another's name.

        Args:
            settings: name → what JSON can hold.

        Returns:
            The settings with the seed of the experiment, flat.
        """
        return flatten(json.loads(json.dumps({**settings, "experiment_seed": self.experiment.seed})))

    def write_results(
        self,
        evaluation: Evaluation,
        parts: Parts,
        left_out: tuple[LeftOut, ...],
        histories: Sequence[StageHistory],
        *,
        model: str,
        weights: Mapping[str, object],
        configuration: Mapping[str, object],
        extra: Extra | None,
    ) -> dict[str, object]:
        """Lets the chief write the result files below the working directory; see `keras_actrec.recipes.reports.write_results`.

        Args:
            evaluation: scores of the test.
            parts: clips of the run.
            left_out: clips that were not used.
            histories: the stages of the training, in order.
            model: name of the model.
            weights: of the backbone as the training began (`with_checksum`): with `initial` not those that its configuration
                names.
            configuration: the options of the model's own that decided the result; those of every run are added.
            extra: further numbers for metrics.json, from the scores of the test.

        Returns:
            The content of metrics.json.

        Raises:
            DiskFullError: no space left.
        """
        experiment = self.experiment
        description = RunDescription(
            dataset=self.dataset.name,
            protocol=experiment.protocol,
            model=model,
            preset=experiment.preset,
            seed=experiment.seed,
            clips={name: len(ids) for name, ids in parts.items()},
            weights=weights,
        )
        of_every_run = {
            "holdout": experiment.holdout,
            "holdout_unit": experiment.holdout_unit,
            "initial": None if experiment.initial is None else str(experiment.initial),
            "devices": self.strategy.num_replicas_in_sync,
        }
        return self.workers.chief_does(lambda: write_results(
            experiment.workdir, description, evaluation, self.dataset.class_names, left_out, histories,
            configuration={**configuration, **of_every_run}, seconds=time.monotonic() - self.started,
            extra={} if extra is None else extra(evaluation),
        ))  # fmt: skip

    def export(self, write: Callable[[], Path]) -> Path:
        """Lets the chief write an exported model; its directory.

        Args:
            write: writes it. It must make no variables under the strategy: that would wait for the other workers.
        """
        return Path(self.workers.chief_does(lambda: str(write())))


def begin_run(dataset: ActionDataset, experiment: AnyVideoExperiment) -> VideoRun[AnyVideoExperiment]:
    """Looks the protocol up, takes the devices, and sees that all workers run the same; writes nothing.

    Raises:
        ConfigError: no such protocol or strategy; workers that were started with other options.
        TrainingError: a worker has stopped.
        DatasetError: a side of the protocol is empty.
    """
    started = time.monotonic()
    split = protocol_split(dataset, experiment.protocol)
    if experiment.workers > 1:
        share_gpus()  # with the workers of the extraction: too late once the strategy has them
    run = VideoRun(dataset, experiment, split, build_strategy(experiment.strategy), started)
    with run.workers.watched():
        check_same_run(run.workers, dataset, experiment)
    return run


def with_checksum(backbone: Any, checksum: str) -> dict[str, object]:
    """A backbone's configuration (a dataclass) as result files and exports have it, with the checksum of its weights."""
    return {**asdict(backbone), "weights_checksum": checksum}


def available_backbone(
    config: Backbone, build: Callable[[Backbone], keras.Model], *, synthetic: bool
) -> tuple[Backbone, keras.Model]:  # fmt: skip
    """Builds a backbone; where ImageNet's weights cannot be had the synthetic data set alone goes on with random ones.

    Args:
        config: of the backbone, a dataclass with `weights`.
        build: makes the model.
        synthetic: whether the run is of the synthetic data set.

    Returns:
        The configuration that the model has in the end, and the model.

    Raises:
        WeightsError: the weights cannot be had.
    """
    try:
        return config, build(config)
    except WeightsError as error:
        if not synthetic or config.weights != "imagenet":
            raise
        warnings.warn(
            f"the synthetic default goes on with RANDOM backbone weights, which say nothing about real data: {error}",
            stacklevel=4,  # of what called the function that runs the experiment
        )
        config = replace(config, weights="random")
        return config, build(config)


def check_same_backbone(maps: Path, checksum: str, *, problem: str, fix: str) -> None:
    """The exported network has to see what the maps show.

    Args:
        maps: folder of a cache of maps.
        checksum: of the weights of the run's backbone.
        problem, fix: what the error says.

    Raises:
        WeightsError: the maps are of other weights.
    """
    found = load_index(maps).options.weights_checksum
    if found != checksum:
        raise WeightsError(problem, file=maps, found=found[:12], expected=checksum[:12], fix=fix)
