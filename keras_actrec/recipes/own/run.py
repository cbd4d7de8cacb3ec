"""A list of videos and labels in, a trained model, its report and its export out."""

from __future__ import annotations

from dataclasses import replace

from keras_actrec.datasets.video_list import read_video_list
from keras_actrec.errors import ConfigError
from keras_actrec.recipes.folds import run_protocols
from keras_actrec.recipes.own.experiment import MODELS, OwnTraining
from keras_actrec.recipes.own.videos import ListedVideos, VideoListConfig, open_videos


def train_on_videos(
    videos: VideoListConfig, training: OwnTraining, *, protocols: tuple[str, ...] = ()
) -> tuple[ListedVideos, dict[str, object]]:
    """Estimates poses, caches features, trains, tests, writes the report and exports the model.

    Files below `workdir`: those of the model's run (`run_experiment`, …), report.html and export/ included; with several
    protocols a folder with them for each, and metrics.json with their means. The caches, pose files included, are in cache/,
    which several models can share.

    Args:
        videos: the clips.
        training: the model and its settings.
        protocols: columns of the list that start with "split"; none given takes the first. Several are averaged.

    Returns:
        The data set, and the content of metrics.json.

    Raises:
        ConfigError: a protocol that the list does not have; settings that make no sense.
        ActrecError: see `open_videos` and the run of the model.
    """
    known = read_video_list(videos.csv, test_share=videos.test_share, seed=videos.seed).splits
    for protocol in protocols:
        if protocol not in known:
            raise ConfigError("unknown protocol", found=repr(protocol), expected=f"one of {', '.join(known)}")
    protocols = protocols or known[:1]
    model = MODELS[training.model]
    model.check(training, protocols[0])  # before poses are estimated for hours
    caches = training.cache_dir or training.workdir / "cache"
    dataset = open_videos(videos, caches)
    # pose files are shared by all models; what is made of them has each model's own options
    own = caches if training.model == "sta_hands" else caches / training.model
    experiment = model.settings(replace(training, cache_dir=own), dataset, protocols[0])
    return dataset, run_protocols(experiment, protocols, lambda one: model.run(dataset, one).metrics)
