"""Groups of joints that share the parameters of an attention: the human parts of RPAN, for any layout.

Paper: Du et al., "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017, figure 3,
section 4.1.
"""

from __future__ import annotations

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout

TORSO = "torso"

_LIMB_PARTS = {
    "elbow": ("elbow_",),
    # Layouts without wrists have hands, those with fingers have them beside the wrists.
    "wrist": ("wrist_", "hand_", "thumb_", "pinky_", "index_"),
    "knee": ("knee_",),
    "ankle": ("ankle_", "foot_", "heel_"),
}
"""Part → how the names of its joints begin, in the order of section 4.1; the torso is all else, hips, shoulders, head."""


def human_parts(layout: SkeletonLayout) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The parts torso, elbow, wrist, knee, ankle of the paper, each with its joints of both sides, by the names of the joints.

    Hands and fingers belong to the wrists, feet and heels to the ankles; all that is no limb belongs to the torso.

    Args:
        layout: what the joints are.

    Returns:
        (part, indices of its joints, ascending) pairs in that order, without parts that have no joint; every joint of the
        layout is in exactly one.

    Raises:
        ConfigError: no joint belongs to a limb, so that there is nothing to tell apart.
    """
    members: dict[str, list[int]] = {part: [] for part in (TORSO, *_LIMB_PARTS)}
    for index, joint in enumerate(layout.joints):
        members[next((part for part, names in _LIMB_PARTS.items() if joint.startswith(names)), TORSO)].append(index)
    if len(members[TORSO]) == len(layout):
        raise ConfigError(
            f"layout {layout.name} has no human parts: none of its joints belongs to a limb",
            found=", ".join(layout.joints),
            expected=f"joints whose names begin with {', '.join(name for names in _LIMB_PARTS.values() for name in names)}",
            fix='choose the attention "separate_joint"',
        )
    return tuple((part, tuple(joints)) for part, joints in members.items() if joints)


def joint_groups(layout: SkeletonLayout, attention: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Which joints share parameters of an attention over joints (rows "Separate-Joint" and "Human-Part" of table 1).

    Args:
        layout: what the joints are.
        attention: "human_part", or "separate_joint": every joint is a group of its own, under its name.

    Returns:
        (group, indices of its joints) pairs; every joint of the layout is in exactly one.

    Raises:
        ConfigError: an attention that does not go by joints, or a layout without limbs.
    """
    if attention == "human_part":
        return human_parts(layout)
    if attention == "separate_joint":
        return tuple((joint, (index,)) for index, joint in enumerate(layout.joints))
    raise ConfigError("this attention has no groups of joints", found=repr(attention), expected="human_part or separate_joint")
