"""What every experiment with a video network decides (VPN, Glimpse Clouds, RPAN): the fields that their experiments share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.parts import check_holdout
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.synthetic.dataset import SyntheticConfig

TRAINS = ("end_to_end", "on_maps")


@dataclass(frozen=True)
class VideoExperiment:
    """What decides the result of one run of any video network; the experiment of each has fields of its own beside these.

    Attributes:
        workdir: results: checkpoints, logs, metrics, pictures, export; and caches, unless `cache_dir` is given.
        preset: preset of the model.
        protocol: one of the data set's protocols.
        layout: name of the joint layout that clips are retargeted to; None keeps the data set's own.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        train: "end_to_end" trains the visual backbone too; "on_maps" computes its maps once, frozen, and trains the rest on
            them, which takes no GPU.
        initial: working directory of a finished run whose weights, classifiers excepted, training starts from.
        holdout, holdout_unit: see `keras_actrec.recipes.sta_hands.experiment.Experiment`.
        strategy: see `keras_actrec.recipes.sta_hands.experiment.Experiment`.
        workers: processes of the extraction.
        seed: initial weights and hold-out; the stages have one of their own, see `with_seed`.
        resume: go on with a training that was stopped. A finished one is tested anew.
        retry_left_out: try clips again that an earlier extraction left out.
        cache_dir: folder of the caches, which several runs can share.
        data_root: folder of the data set; None makes the synthetic one of `synthetic` below the caches.
        synthetic: what the synthetic data set is, where there is no data root.

    Raises:
        ConfigError: a value out of range.
    """

    workdir: Path
    preset: str
    protocol: str = "cross_subject"
    layout: str | None = None
    pixel_size: tuple[int, int] | None = None
    train: str = "end_to_end"
    initial: Path | None = None
    holdout: float = 0.05
    holdout_unit: str = "clip"
    strategy: str = "mirrored"
    workers: int = 1
    seed: int = 0
    resume: bool = False
    retry_left_out: bool = False
    cache_dir: Path | None = None
    data_root: Path | None = None
    synthetic: SyntheticConfig = SyntheticConfig()

    def __post_init__(self):
        check_holdout(self)
        for name, choices in (("train", TRAINS), ("layout", (None, *LAYOUTS))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"unknown {name}", found=repr(value), expected=f"one of {', '.join(map(str, choices))}")

    @property
    def caches(self) -> Path:
        """Folder of the caches."""
        return self.cache_dir or self.workdir / "cache"

    def joint_layout(self, dataset: ActionDataset) -> SkeletonLayout:
        """The layout of the poses that the model is given or regresses."""
        return LAYOUTS[self.layout] if self.layout else dataset_layout(dataset)


AnyVideoExperiment = TypeVar("AnyVideoExperiment", bound=VideoExperiment)
Task = TypeVar("Task")


def paper_task(tasks: Mapping[str, Task], name: str) -> Task:
    """How a paper uses a data set.

    Args:
        tasks: name in `keras_actrec.datasets.catalogue` → what the paper does with it.
        name: of the data set.

    Raises:
        ConfigError: a data set that the paper does not use.
    """
    if name not in tasks:
        raise ConfigError("the paper has no settings for this data set", found=repr(name), expected=", ".join(tasks))
    return tasks[name]
