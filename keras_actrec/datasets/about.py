"""What each public data set is, in a line: for people who choose one. docs/data_sets.md says more, and names the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class About:
    """A data set in short.

    Attributes:
        title: its full name.
        clips: published clips that have usable skeletons.
        classes: actions.
        layout: name of the joint layout of its skeletons.
        protocols: the usual ones.
        address: where its authors say how to get it, and on what terms.
    """

    title: str
    clips: int
    classes: int
    layout: str
    protocols: tuple[str, ...]
    address: str


_NTU = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
_WANG = "https://wangjiangb.github.io/my_data.html"
_SMARTHOME = "https://project.inria.fr/toyotasmarthome/"
_JHMDB = "http://jhmdb.is.tue.mpg.de"
_SPLITS = ("split1", "split2", "split3")

ABOUT: Mapping[str, About] = MappingProxyType({
    "ntu_rgbd": About("NTU RGB+D", 56578, 60, "kinect_v2", ("cross_subject", "cross_view"), _NTU),
    "ntu_rgbd_120": About("NTU RGB+D 120", 113945, 120, "kinect_v2", ("cross_subject", "cross_setup"), _NTU),
    "msr_daily": About("MSR Daily Activity 3D", 320, 16, "kinect_v1", ("cross_subject",), _WANG),
    "sbu": About(
        "SBU Kinect Interaction", 282, 8, "sbu_15", ("fold1", "fold2", "fold3", "fold4", "fold5"),
        "https://www3.cs.stonybrook.edu/~kyun/research/kinect_interaction/",
    ),
    "nucla": About("Northwestern-UCLA Multiview", 1484, 10, "kinect_v1", ("view3",), _WANG),
    "smarthome": About("Toyota Smarthome", 16115, 31, "lcrnet_13", ("cross_subject",), _SMARTHOME),
    "smarthome_cross_view": About(
        "Toyota Smarthome, classes of its cross-view measurement", 13246, 19, "lcrnet_13", ("cross_view2", "cross_view1"),
        _SMARTHOME,
    ),
    "jhmdb": About("JHMDB", 928, 21, "jhmdb_15", _SPLITS, _JHMDB),
    "sub_jhmdb": About("Sub-JHMDB", 316, 12, "jhmdb_15", _SPLITS, _JHMDB),
    "penn_action": About("Penn Action", 2326, 15, "penn_13", ("official",), "http://dreamdragon.github.io/PennAction/"),
})  # fmt: skip
"""Name in the catalogue → what it is; "own" is none of them."""
