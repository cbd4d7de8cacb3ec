"""All data sets by name: what a script's --dataset takes. Explicit, so that a reader finds each class from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from keras_actrec.datasets.jhmdb import JHMDB
from keras_actrec.datasets.msr_daily import MSRDailyActivity
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.datasets.ntu120 import NTURGBD120
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.penn_action import PennAction
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.datasets.sbu import SBUKinect
from keras_actrec.datasets.smarthome import ToyotaSmarthome
from keras_actrec.errors import ConfigError


def _modality(video: bool) -> str:
    return "both" if video else "skeleton"


DATASETS: Mapping[str, Callable[[Path, bool], ActionDataset]] = MappingProxyType({
    "ntu_rgbd": lambda root, video: NTURGBD(root, modality=_modality(video)),
    "ntu_rgbd_120": lambda root, video: NTURGBD120(root, modality=_modality(video)),
    "msr_daily": lambda root, video: MSRDailyActivity(root),
    "sbu": lambda root, video: SBUKinect(root),
    "nucla": lambda root, video: NorthwesternUCLA(root),
    "smarthome": lambda root, video: ToyotaSmarthome(root, modality=_modality(video)),
    "smarthome_cross_view": lambda root, video: ToyotaSmarthome(root, classes="cross_view", modality=_modality(video)),
    "jhmdb": lambda root, video: JHMDB(root, modality=_modality(video)),
    "sub_jhmdb": lambda root, video: JHMDB(root, subset=True, modality=_modality(video)),
    "penn_action": lambda root, video: PennAction(root),
    "own": lambda root, video: OwnDataset(root),
})  # fmt: skip
"""`ActionDataset.name` → (root, whether clips need a video) → data set. Two differ: "own" is named after its CSV, and
"smarthome_cross_view" is "smarthome" with the classes and protocols of its cross-view measurement."""


def open_dataset(name: str, root: str | Path, *, video: bool) -> ActionDataset:
    """Indexes a data root with its class's default choices.

    Args:
        name: key of `DATASETS`.
        root: the data set's folder; of "own" the CSV file.
        video: whether a clip without a video is left out. Of the data sets that come without, or with videos that are not
            needed for anything else (MSR Daily Activity, SBU, Northwestern-UCLA, Penn Action, own), it stays all the same.

    Raises:
        ConfigError: no such data set.
        DatasetError: the root does not hold it, see its class.
    """
    if name not in DATASETS:
        raise ConfigError("unknown data set", found=repr(name), expected=f"one of {', '.join(DATASETS)}")
    return DATASETS[name](Path(root), video)


def open_videos(name: str, root: str | Path) -> ActionDataset:
    """Indexes a data root for what needs videos and no joints; arguments and errors as for `open_dataset`.

    JHMDB's clips need no joints then; the other data sets have none without.
    """
    if name in ("jhmdb", "sub_jhmdb"):
        return JHMDB(root, subset=name == "sub_jhmdb", modality="video")
    return open_dataset(name, root, video=True)
