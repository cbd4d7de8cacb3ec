"""NTU RGB+D 120: its protocols, and the index of a folder with its files.

J. Liu, A. Shahroudy, M. Perez, G. Wang, L.-Y. Duan, A. C. Kot, "NTU RGB+D 120: A Large-Scale Benchmark for 3D Human Activity
Understanding", IEEE TPAMI 42 (10), 2020 (online 2019).

It holds the 56,880 clips of NTU RGB+D (setups 1 to 17, actions 1 to 60) and 57,600 more (setups 18 to 32, actions 61 to 120) in
the same formats, see `ntu`. The data root has both parts, in any folders. For academic research, on request:
https://rose1.ntu.edu.sg/dataset/actionRecognition/.

The numbers here were counted on the complete list of clip names. Projects on skeletons often report 50,922 test clips for
cross-subject; the list gives 50,919, and only that adds up to 113,945 with the 63,026 training clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from keras_actrec.datasets.ntu import NTU60
from keras_actrec.datasets.ntu_classes import NTU120_CLASSES
from keras_actrec.datasets.ntu_index import NTUDataset, NTUEdition, NTUPart, NTUProtocol
from keras_actrec.datasets.record import Split

TRAINING_SUBJECTS = frozenset({
    1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58,
    59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
})  # fmt: skip
"""The 53 of the 106 subjects (the first 20 are those of NTU RGB+D)."""

TRAINING_SETUPS = frozenset(range(2, 33, 2))
SETUP_SUBJECTS: Mapping[int, tuple[int, ...]] = MappingProxyType({
    18: (8, 41, 42, 43, 44, 45),
    19: (8, 41, 42, 46, 47, 48, 49, 50, 51),
    20: (8, 41, 43, 44, 52, 53, 54),
    21: (55, 56, 57, 58, 59, 60),
    22: (61, 62, 63, 64, 65, 66, 67),
    23: (55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68),
    24: (57, 60, 61, 62, 63, 64, 67),
    25: (55, 56, 58, 59, 65, 66, 68),
    26: (8, 41, 44, 49, 50, 51, 69, 70, 71, 72, 74, 75, 76, 77),
    27: (6, 8, 11, 41, 43, 44, 78, 79, 80, 81, 82, 83, 84, 85, 86),
    28: (8, 41, 42, 43, 46, 48, 70, 73, 87),
    29: (6, 8, 41, 43, 44, 48, 49, 51, 67, 74, 75, 80, 88, 89, 90),
    30: (8, 11, 41, 43, 44, 48, 67, 75, 76, 81, 85, 88, 91, 92, 93, 94, 95, 96),
    31: (6, 8, 41, 42, 43, 44, 51, 67, 82, 85, 96, 97, 98, 99, 100, 101),
    32: (8, 41, 43, 44, 67, 102, 103, 104, 105, 106),
})  # fmt: skip
"""Setup → its subjects, of the setups that NTU RGB+D does not have."""

EXPECTED_CLIPS = {
    ("cross_subject", "train"): 63360,
    ("cross_subject", "test"): 51120,
    ("cross_setup", "train"): 54720,
    ("cross_setup", "test"): 59760,
    ("all", "all"): 114480,
}
"""Clips of the whole data set, before the samples with missing skeletons are taken out."""

NTU120 = NTUEdition(
    title="NTU RGB+D 120",
    class_names=NTU120_CLASSES,
    protocols={
        "cross_subject": NTUProtocol("subject", range(1, 107), TRAINING_SUBJECTS),
        "cross_setup": NTUProtocol("setup", range(1, 33), TRAINING_SETUPS),
    },
    parts=(*NTU60.parts, NTUPart(SETUP_SUBJECTS, actions=range(61, 121))),
    published=EXPECTED_CLIPS,
    missing_file="ntu120_missing_skeletons.txt",
    other_clips="leave out clips of other data sets",
)


def cross_subject(names: Iterable[str]) -> Split:
    """Splits clip names by performer: 53 of the 106 train, the others test. Raises DatasetError for a performer above 106."""
    return NTU120.split("cross_subject", names)


def cross_setup(names: Iterable[str]) -> Split:
    """Splits clip names by setup: even ones train, odd ones test. Raises DatasetError for a setup above 32."""
    return NTU120.split("cross_setup", names)


def missing_skeletons() -> frozenset[str]:
    """Names of the 535 samples with missing or incomplete skeletons, as published by the authors of the data set; 302 of them
    are those of NTU RGB+D."""
    return NTU120.missing_skeletons


class NTURGBD120(NTUDataset):
    """NTU RGB+D 120 below a data root: 114,480 clips, of which 113,945 have skeletons, of 120 actions by 106 subjects.

    Protocols "cross_subject" and "cross_setup". Arguments, attributes and errors: see `NTUDataset`.
    """

    name = "ntu_rgbd_120"
    edition = NTU120
