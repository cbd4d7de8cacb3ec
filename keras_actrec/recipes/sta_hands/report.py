"""What a run of the two-stream network leaves behind: result files and the exported model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import keras

from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.export import export_saved_model
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.parts import Parts
from keras_actrec.recipes.reports import write_results
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.training.results import RunDescription
from keras_actrec.training.stages import StageHistory


def write_report(
    dataset: ActionDataset,
    experiment: Experiment,
    model: keras.Model,
    evaluation: Evaluation,
    parts: Parts,
    left_out: tuple[LeftOut, ...],
    histories: list[StageHistory],
    *,
    seconds: float,
    extra: Mapping[str, object],
) -> tuple[dict[str, object], str]:
    """Writes the result files of a run below its working directory.

    Returns:
        The content of metrics.json, and the directory of the exported model.

    Raises:
        DiskFullError: no space left.
    """
    workdir = experiment.workdir
    sensor = _sensor_description(experiment)
    run = RunDescription(
        dataset=dataset.name,
        protocol=experiment.protocol,
        model="sta_hands",
        preset=experiment.settings or experiment.preset,
        seed=experiment.seed,
        clips={name: len(ids) for name, ids in parts.items()},
        weights=sensor,
    )
    configuration = {
        "model_preset": experiment.preset,
        "layout": experiment.joint_layout(dataset).name,
        **{name: asdict(getattr(experiment, name)) for name in ("tensor", "sampling", "augmentation")},
        **{f"{name}_stage": getattr(experiment, f"{name}_stage").as_json() for name in ("pose", "rgb")},
        "test_views": list(experiment.test_views),
        "holdout": experiment.holdout,
        "holdout_unit": experiment.holdout_unit,
    }
    metrics = write_results(
        workdir, run, evaluation, dataset.class_names, left_out, histories,
        configuration=configuration, seconds=seconds, extra=extra,
    )  # fmt: skip
    cleaning = dataset.cleaning if experiment.cleaning is None else experiment.cleaning
    export = export_saved_model(
        model,
        workdir / "export",
        class_names=dataset.class_names,
        layout=experiment.joint_layout(dataset),
        tensor=experiment.tensor,
        sampling=experiment.sampling,
        sensor=sensor,
        crop_size=experiment.crop_size,
        cleaning=asdict(cleaning),
        views=experiment.test_views,
        source_layout=dataset_layout(dataset).name,
    )
    return metrics, str(export)


def _sensor_description(experiment: Experiment) -> dict[str, object]:
    """The image network, with the checksum of the weights that the cached features were made with."""
    if not experiment.uses_video:
        return {}
    options = load_index(experiment.caches / "hand_features").options
    return {**asdict(experiment.sensor), "weights_checksum": options.weights_checksum}
