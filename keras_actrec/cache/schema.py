"""What a cache is: options, plan of shards (index.json), names of files, datasets and attributes.

    DIR/index.json                 schema version, options, shards -> clip ids
    DIR/<kind>-00012.h5            shards; what has this name is whole
    DIR/<kind>-00012.h5.*.part     a shard that some process is writing

Root attributes of every shard: `schema_version`, `kind`, `dataset`, `layout`, `options` (JSON), `weights_checksum`,
`library_versions` (JSON), `left_out` (JSON), `text_checksum` (of all text). Root datasets: `clip_ids`, `lengths`.

Pose shard: a group per clip, `clips/<clip id>`, with `joints` (T, 2, J, 3) float32 in metres, `pixels` (T, 2, J, 2) float32,
NaN where there is none, `test_frames` (K, F) int32, `test_tensors` (K, F, W, 3) float32, and the attribute `cleaning` (JSON).
Feature shard: `features` (sum of T, 4, 2048) float16, `mask` (sum of T, 4) bool, `offsets` (first row of each clip).
Person-clip shard: see `person_clip_writer`. Clip-map shard: see `clip_maps`. Glimpse-map shard: see `glimpse_maps`.
Frame-cube shard: see `frame_cubes`. Flow shard: see `flow`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keras_actrec.cache.lock import planning
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.files import disk_full_at, whole_file

SCHEMA_VERSION = 1
INDEX_NAME = "index.json"
POSES = "poses"
HAND_FEATURES = "hand_features"
PERSON_CLIPS = "person_clips"
CLIP_MAPS = "clip_maps"
GLIMPSE_MAPS = "glimpse_maps"
FRAME_CUBES = "frame_cubes"
FLOW = "flow"
KINDS = (POSES, HAND_FEATURES, PERSON_CLIPS, CLIP_MAPS, GLIMPSE_MAPS, FRAME_CUBES, FLOW)
CLIPS_PER_SHARD = 64

_FRESH = "give another folder, or delete this one and run the extraction again"


@dataclass(frozen=True)
class CacheOptions:
    """Everything that decides what is in a cache. Two caches with equal options hold the same numbers.

    Attributes:
        kind: one of `KINDS`.
        dataset: name of the data set.
        layout: name of the skeleton layout.
        options: every preprocessing option, JSON values only (tuples become lists).
        weights_checksum: of the image network; "" where none is in play.

    Raises:
        ConfigError: the kind is unknown or an option is not a JSON value.
    """

    kind: str
    dataset: str
    layout: str
    options: Mapping[str, object]
    weights_checksum: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ConfigError("unknown kind of cache", found=self.kind, expected=f"one of {', '.join(KINDS)}")
        try:
            options = json.loads(json.dumps(dict(self.options), sort_keys=True, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"a cache option is not a JSON value: {error}") from error
        object.__setattr__(self, "options", options)

    def flat(self) -> dict[str, object]:
        """Every field by name; nested options by dotted name."""
        fields = {"kind": self.kind, "dataset": self.dataset, "layout": self.layout, "weights_checksum": self.weights_checksum}
        return fields | flatten(self.options)

    def differences(self, expected: CacheOptions) -> list[tuple[str, object, object]]:
        """(name, value here, value expected) of every option that differs."""
        here, there = self.flat(), expected.flat()
        names = [*here, *(name for name in there if name not in here)]
        absent = "absent"
        pairs = [(name, here.get(name, absent), there.get(name, absent)) for name in names]
        return [(name, found, wanted) for name, found, wanted in pairs if found != wanted]


def flatten(options: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested options by dotted name: {"tensor": {"order": …}} as {"tensor.order": …}."""
    flat = {}
    for name, value in options.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat


def check_options(found: CacheOptions, expected: CacheOptions, file: Path) -> None:
    """Raises CacheError that names each option in which `found` (read from `file`) differs from `expected`."""
    differing = found.differences(expected)
    if differing:
        text = "; ".join(f"{name}: found {value!r}, expected {wanted!r}" for name, value, wanted in differing)
        raise CacheError(
            f"the cache was made with other options than those asked for: {text}",
            file=file,
            fix="ask for the options of the cache, or give another folder and run the extraction with yours",
        )


@dataclass(frozen=True)
class CacheIndex:
    """The plan of a cache: which shard holds which clips. Depends on nothing but its arguments.

    Attributes:
        options: what the cache holds.
        clips_per_shard: size of a shard when it was planned.
        shards: clip ids of each shard.
    """

    options: CacheOptions
    clips_per_shard: int
    shards: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self):
        if self.clips_per_shard < 1:
            raise ConfigError("a shard holds at least one clip", found=self.clips_per_shard)

    def shard_name(self, shard: int) -> str:
        """File name of a shard."""
        return f"{self.options.kind}-{shard:05d}.h5"

    def extended(self, clip_ids: Iterable[str]) -> CacheIndex:
        """The same plan, with further shards for the clips that it does not hold yet, sorted."""
        known = {clip for clips in self.shards for clip in clips}
        new = sorted(set(clip_ids) - known)
        size = self.clips_per_shard
        further = tuple(tuple(new[i : i + size]) for i in range(0, len(new), size))
        return CacheIndex(self.options, size, self.shards + further)

    def missing(self, directory: Path) -> list[int]:
        """Shards that have no file under their final name yet."""
        return [shard for shard in range(len(self.shards)) if not (directory / self.shard_name(shard)).exists()]


def load_index(directory: str | Path) -> CacheIndex:
    """Reads DIR/index.json. Raises CacheError where it is absent, damaged or of another schema version."""
    file = Path(directory) / INDEX_NAME
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CacheError("there is no cache here", file=file, fix="run the extraction into this folder first") from None
    except (OSError, ValueError) as error:
        raise CacheError(f"the index of the cache does not read: {error}", file=file, fix=_FRESH) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise CacheError("the cache has another schema version", file=file, found=version, expected=SCHEMA_VERSION, fix=_FRESH)
    try:
        fields = ("kind", "dataset", "layout", "options", "weights_checksum")
        options = CacheOptions(**{name: content[name] for name in fields})
        shards = tuple(tuple(clips) for clips in content["shards"])
        return CacheIndex(options, content["clips_per_shard"], shards)
    except (KeyError, TypeError, ConfigError) as error:
        raise CacheError(f"the index of the cache is not whole: {error}", file=file, fix=_FRESH) from error


def plan_cache(
    directory: str | Path, options: CacheOptions, clip_ids: Iterable[str], *, clips_per_shard: int = CLIPS_PER_SHARD
) -> CacheIndex:
    """Makes the index of a cache or extends the one that is there, and writes it in one step.

    The plan follows from the clip ids alone, so processes and machines that ask for the same clips write the same bytes.

    Raises:
        CacheError: the folder holds a cache with other options.
        DiskFullError: no space left; the index is as it was.
    """
    directory = Path(directory)
    with disk_full_at(directory / INDEX_NAME):
        directory.mkdir(parents=True, exist_ok=True)
    with planning(directory):  # two processes that add different clips: the second adds to what the first wrote
        if (directory / INDEX_NAME).exists():
            index = load_index(directory)
            check_options(index.options, options, directory / INDEX_NAME)
        else:
            index = CacheIndex(options, clips_per_shard)
        extended = index.extended(clip_ids)
        if extended != index or not (directory / INDEX_NAME).exists():
            _write_index(directory, extended)
    return extended


def _write_index(directory: Path, index: CacheIndex) -> None:
    options = index.options
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": options.kind,
        "dataset": options.dataset,
        "layout": options.layout,
        "options": options.options,
        "weights_checksum": options.weights_checksum,
        "clips_per_shard": index.clips_per_shard,
        "shards": index.shards,
    }
    with whole_file(directory / INDEX_NAME, shared=True) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
