"""`keras-actrec extract …`: writes the caches that trainings read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HELP = """\
Writes a cache: what a training reads of each clip, computed once. Every one can be stopped and goes on where it was.

which model needs which:
  two-stream network (STA-Hands)   poses, hands
  VPN                              poses, person-clips, and clip-maps if its video network is frozen
  Glimpse Clouds                   poses, person-clips --box whole, and glimpse-maps if its backbone is frozen
  RPAN                             poses, flow for its second stream, and frame-cubes if its image network is frozen

The scripts in experiments/ and `keras-actrec train` write what is missing by themselves: these commands are for large data
sets, which take days and several machines.

examples:
  keras-actrec extract poses --dataset ntu_rgbd --data-root /data/ntu --cache /fast/cache/poses --workers 8
  keras-actrec extract hands --dataset ntu_rgbd --data-root /data/ntu --poses /fast/cache/poses --cache /fast/cache/hands
"""

_PLACE = "keras_actrec.cli.extraction"

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "poses": (f"{_PLACE}.poses", "skeleton files → pose cache: cleaned joints, test sub-sequences"),
    "hands": (f"{_PLACE}.hands", "videos and poses → features of the crops around hands"),
    "person-clips": (f"{_PLACE}.person_clips", "videos and poses → every frame cropped to the people in it, as JPEG"),
    "clip-maps": (f"{_PLACE}.clip_maps", "person clips → maps of VPN's frozen video network"),
    "glimpse-maps": (f"{_PLACE}.glimpse_maps", "whole frames and poses → maps of Glimpse Clouds' frozen backbone"),
    "frame-cubes": (f"{_PLACE}.frame_cubes", "videos or flow → cubes of RPAN's frozen image network"),
    "flow": (f"{_PLACE}.flow", "videos → optical flow"),
    "rescale": (f"{_PLACE}.rescale", "videos → the same at the size that a network reads"),
    "verify": (f"{_PLACE}.verify", "checks caches: every shard, clip, option and checksum"),
})  # fmt: skip
"""Name → (module, one line), in the order of the help."""
