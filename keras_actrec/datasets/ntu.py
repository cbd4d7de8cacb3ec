"""NTU RGB+D (60 classes): its protocols, and the index of a folder with its files.

A. Shahroudy, J. Liu, T.-T. Ng, G. Wang, "NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis", CVPR 2016.

Files, in any folders below the data root: `SsssCcccPpppRrrrAaaa.skeleton` (25 Kinect v2 joints in metres, see `ntu_skeleton`)
and `SsssCcccPpppRrrrAaaa_rgb.avi` (1920×1080, 30 frames per second); sss setup, ccc camera, ppp subject, rrr replication, aaa
action. For academic research, on request: https://rose1.ntu.edu.sg/dataset/actionRecognition/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from keras_actrec.datasets.ntu_classes import NTU60_CLASSES
from keras_actrec.datasets.ntu_index import MODALITIES, ClipName, NTUDataset, NTUEdition, NTUPart, NTUProtocol
from keras_actrec.datasets.record import Split

__all__ = [
    "EXPECTED_CLIPS", "MODALITIES", "NTU60", "NTU60_CLASSES", "NTURGBD", "PROTOCOLS", "SETUP_SUBJECTS", "TRAINING_CAMERAS",
    "TRAINING_SUBJECTS", "ClipName", "cross_subject", "cross_view", "missing_skeletons",
]  # fmt: skip

TRAINING_SUBJECTS = frozenset({1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38})
TRAINING_CAMERAS = frozenset({2, 3})
PROTOCOLS = {
    "cross_subject": NTUProtocol("subject", range(1, 41), TRAINING_SUBJECTS),
    "cross_view": NTUProtocol("camera", range(1, 4), TRAINING_CAMERAS),
}
SETUP_SUBJECTS: Mapping[int, tuple[int, ...]] = MappingProxyType({
    1: (1, 2, 3, 4, 5, 6, 7, 8),
    2: (3, 7, 8, 9, 10, 11, 12, 13, 14),
    3: (1, 2, 7, 8, 15, 16, 17, 18, 19),
    4: (3, 7, 8, 20),
    5: (4, 10, 13, 15, 16, 17, 18, 21),
    6: (1, 7, 8, 15, 16, 17, 19, 22, 23, 24),
    7: (1, 7, 8, 15, 16, 17, 18, 19, 25, 26, 27, 28),
    8: (1, 7, 8, 15, 19, 25, 29, 30, 31, 32, 33, 34, 35, 36),
    9: (7, 8, 15, 16, 17, 19, 25),
    10: (7, 8, 13, 15, 16, 17, 18, 19, 21, 25),
    11: (1, 2, 7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 38),
    12: (7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 37),
    13: (7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 37),
    14: (7, 8, 15, 17, 19, 25, 27, 37, 39),
    15: (7, 8, 15, 16, 17, 19, 25, 37),
    16: (7, 8, 19, 21, 25, 39, 40),
    17: (3, 7, 8, 9, 15, 16, 17, 20),
})  # fmt: skip
"""Setup → its subjects: with them all names of clips are known, see `NTUPart`."""

EXPECTED_CLIPS = {
    ("cross_subject", "train"): 40320,
    ("cross_subject", "test"): 16560,
    ("cross_view", "train"): 37920,
    ("cross_view", "test"): 18960,
    ("all", "all"): 56880,
}
"""Clips of the whole data set, before the samples with missing skeletons are taken out."""

NTU60 = NTUEdition(
    title="NTU RGB+D",
    class_names=NTU60_CLASSES,
    protocols=PROTOCOLS,
    parts=(NTUPart(SETUP_SUBJECTS, actions=range(1, 61)),),
    published=EXPECTED_CLIPS,
    missing_file="ntu60_missing_skeletons.txt",
    other_clips="leave out clips of other data sets, such as NTU RGB+D 120, which NTURGBD120 reads",
)


def cross_subject(names: Iterable[str]) -> Split:
    """Splits clip names by performer: 20 of the 40 train, the others test. Raises DatasetError for a performer above 40."""
    return NTU60.split("cross_subject", names)


def cross_view(names: Iterable[str]) -> Split:
    """Splits clip names by camera: 2 and 3 train, 1 tests. Raises DatasetError for a camera above 3."""
    return NTU60.split("cross_view", names)


def missing_skeletons() -> frozenset[str]:
    """Names of the 302 samples with missing or incomplete skeletons, as published by the authors of the data set."""
    return NTU60.missing_skeletons


class NTURGBD(NTUDataset):
    """NTU RGB+D below a data root: 56,880 clips, of which 56,578 have skeletons, of 60 actions by 40 subjects before 3 cameras.

    Protocols "cross_subject" and "cross_view". Arguments, attributes and errors: see `NTUDataset`.
    """

    name = "ntu_rgbd"
    edition = NTU60
