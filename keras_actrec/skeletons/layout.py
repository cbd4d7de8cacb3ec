"""What a body is: the names of its joints, the tree they form, its hands, mirror pairs and parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from keras_actrec.errors import ConfigError


@dataclass(frozen=True)
class SkeletonLayout:
    """A joint layout.

    Attributes:
        name: identifier, stored in caches and exports.
        joints: joint names; position in this tuple = index in every array.
        parents: for each joint the index of its parent; -1 for the root. The root is the joint nearest to the middle of
            the spine: the origin of normalisation and the start of the topological walk.
        hands: indices of the left and the right hand (the joints that hand crops are centred on).
        mirror_pairs: (left, right) index pairs that swap when a body is mirrored.
        parts: (part name, joint indices) pairs; every joint belongs to exactly one part.

    Raises:
        ConfigError: the parents are not one tree over all joints, or an index is out of range.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    hands: tuple[int, int]
    mirror_pairs: tuple[tuple[int, int], ...]
    parts: tuple[tuple[str, tuple[int, ...]], ...]

    def __post_init__(self):
        count = len(self.joints)
        if len(self.parents) != count:
            raise ConfigError(f"layout {self.name}: one parent per joint is needed", found=len(self.parents), expected=count)
        if self.parents.count(-1) != 1:
            raise ConfigError(
                f"layout {self.name}: exactly one root (parent -1) is needed", found=self.parents.count(-1), expected=1
            )
        for joint in range(count):
            seen = set()
            while joint != -1:
                if joint in seen or not 0 <= joint < count:
                    raise ConfigError(f"layout {self.name}: the parents are not a tree over {count} joints", found=joint)
                seen.add(joint)
                joint = self.parents[joint]
        grouped = sorted(j for _, members in self.parts for j in members)
        if grouped != list(range(count)):
            raise ConfigError(f"layout {self.name}: every joint belongs to exactly one part", found=grouped)
        for index in (*self.hands, *(i for pair in self.mirror_pairs for i in pair)):
            if not 0 <= index < count:
                raise ConfigError(f"layout {self.name}: joint index out of range", found=index, expected=f"0..{count - 1}")

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def root(self) -> int:
        """Index of the root joint (the middle of the spine, or the joint nearest to it)."""
        return self.parents.index(-1)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each joint the indices of its children, in joint order unless the layout lists them otherwise."""
        return tuple(tuple(c for c, p in enumerate(self.parents) if p == j) for j in range(len(self.joints)))

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) pairs."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent != -1)

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image; its own for joints in the middle."""
        image = dict(self.mirror_pairs) | {right: left for left, right in self.mirror_pairs}
        return tuple(image.get(joint, joint) for joint in range(len(self.joints)))

    @cached_property
    def part_of(self) -> Mapping[str, tuple[int, ...]]:
        """Part name → joint indices."""
        return MappingProxyType(dict(self.parts))

    def index(self, joint: str) -> int:
        """Index of a joint by name. Raises ConfigError for a name the layout does not have."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ConfigError(
                f"layout {self.name} has no joint of that name", found=joint, expected=f"one of {', '.join(self.joints)}"
            ) from None


KINECT_V2 = SkeletonLayout(
    name="kinect_v2",
    joints=(
        "spine_base", "spine_mid", "neck", "head",
        "shoulder_left", "elbow_left", "wrist_left", "hand_left",
        "shoulder_right", "elbow_right", "wrist_right", "hand_right",
        "hip_left", "knee_left", "ankle_left", "foot_left",
        "hip_right", "knee_right", "ankle_right", "foot_right",
        "spine_shoulder", "hand_tip_left", "thumb_left", "hand_tip_right", "thumb_right",
    ),
    parents=(1, -1, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 6, 11, 10),
    hands=(7, 11),
    mirror_pairs=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)),
    parts=(
        ("torso", (0, 1, 2, 3, 20)),
        ("left_arm", (4, 5, 6, 7, 21, 22)),
        ("right_arm", (8, 9, 10, 11, 23, 24)),
        ("left_leg", (12, 13, 14, 15)),
        ("right_leg", (16, 17, 18, 19)),
    ),
)  # fmt: skip
"""Kinect v2: 25 joints in the order of the NTU RGB+D files; bones as in Microsoft's Kinect for Windows SDK 2.0 (thumbs hang on
the wrists), rooted at the middle of the spine."""
