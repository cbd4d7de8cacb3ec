"""Videos → the same videos at another size, in parallel processes; what is there already is not written again.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", section 7: RGB videos are rescaled to
256 × 256.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from keras_actrec.datasets.files import walk_folders
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.errors import CacheError, ConfigError, DatasetError, VideoError
from keras_actrec.extraction.run import check_run
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers, run_shards
from keras_actrec.files import whole_file
from keras_actrec.progress import progress_bar
from keras_actrec.video.rescale import VIDEO_SUFFIXES, RescaleConfig, remove_stale_part, rescale_video

SETTINGS_NAME = ".rescale.json"
_STAGE = "rescale"
_CONFIG = RescaleConfig()


@dataclass(frozen=True)
class RescaleReport:
    """What a run did.

    Attributes:
        directory: the folder of the rescaled videos.
        done: videos written in this run.
        skipped: videos that were already there.
        broken: videos that could not be rescaled, by their paths below the source, and why.
        linked: links to other files that were made in this run.
        frames: frames written in this run.
        seconds: duration of the run.
    """

    directory: Path
    done: int
    skipped: int
    broken: tuple[LeftOut, ...]
    linked: int
    frames: int
    seconds: float

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds > 0 else 0.0
        lines = [
            f"{self.directory}: {self.done} videos written ({rate:.0f} frames/s), {self.skipped} already there, "
            f"{len(self.broken)} broken"
        ]
        if self.linked:
            lines.append(f"{self.linked} links to other files")
        lines += [f"broken: {entry.clip_id}: {entry.reason}" for entry in self.broken]
        return "\n".join(lines)


def rescale_videos(
    source: str | Path,
    directory: str | Path,
    config: RescaleConfig = _CONFIG,
    *,
    dataset: ActionDataset | None = None,
    link_others: bool = False,
    workers: Workers = 1,
    progress: bool | None = None,
    share: tuple[int, int] = (0, 1),
) -> RescaleReport:
    """Writes every video below a folder again at another size, to the same relative path below another folder.

    A video has its name only when it is whole, so that the same call goes on where a killed one stopped.

    Args:
        source: the folder. Links are followed; hidden files are passed over.
        directory: folder of the rescaled videos, outside of `source`.
        config: the size and the container.
        dataset: only the videos of its records; they lie below `source`.
        link_others: also make a link to every other file below `source`, so that `directory` is a data set as `source` is.
        workers: processes; 1 works in this one. Or a Ray cluster, of one machine or several (`extraction/ray_cluster.py`).
        progress: show the bar; None shows it on a terminal only.
        share: (i, n): this run writes every n-th video from the i-th on; other machines write the others.

    Returns:
        The report. A video that does not decode is listed in it, and the rest goes on.

    Raises:
        DatasetError: the source is no folder, holds no video, or a record's video is no file below it; or two videos would be
            written to one file.
        ConfigError: one folder lies inside the other; workers or share make no sense.
        CacheError: `directory` was begun with another configuration, or a worker died.
        DiskFullError: no space left.
    """
    check_run(workers, share)
    source, directory = Path(source), Path(directory)
    _check_apart(source, directory)
    videos, others = _listed(source, dataset)
    targets = _targets(videos, config)
    _check_settings(directory, config)
    mine = [target for number, target in enumerate(targets) if number % share[1] == share[0]]
    todo = [target for target in mine if not (directory / target).exists()]
    for target in todo:
        remove_stale_part(directory / target)
    start = time.perf_counter()
    job = _RescaleJob(source, directory, config, tuple(targets[target] for target in todo), tuple(todo))
    with progress_bar(len(todo), "rescaled videos", show=progress) as bar:
        results = run_shards(job, range(len(todo)), workers=workers, tick=bar.update)
    linked = _link(source, directory, others) if link_others else 0
    return RescaleReport(
        directory,
        done=sum(result.done for result in results),
        skipped=len(mine) - len(todo),
        broken=tuple(entry for result in results for entry in result.left_out),
        linked=linked,
        frames=sum(result.crops for result in results),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _RescaleJob:
    """Writes rescaled videos (a `ShardJob` whose shards are videos)."""

    source: Path
    directory: Path
    config: RescaleConfig
    videos: tuple[Path, ...]
    targets: tuple[Path, ...]

    def reads(self) -> tuple[Path, ...]:
        return one_there(self.source / video for video in self.videos)

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            cv2.setNumThreads(1)
        return lambda number, tick: self._write(threads, number, tick)

    def _write(self, threads: int | None, number: int, tick: Tick) -> ShardResult:
        video = self.videos[number]
        broken: list[LeftOut] = []
        frames = 0
        remove_stale_part(self.directory / self.targets[number])  # of a worker that died on this video
        try:
            frames = rescale_video(self.source / video, self.directory / self.targets[number], self.config, threads=threads)
        except VideoError as error:
            broken.append(LeftOut(video.as_posix(), _STAGE, str(error), error.file or ""))
        tick(1)
        return ShardResult(number, 1 - len(broken), tuple(broken), frames)


def _check_apart(source: Path, directory: Path) -> None:
    one, other = source.resolve(), directory.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ConfigError(
            "the folder of the rescaled videos must lie outside of the source", file=directory, found=f"source {source}",
            fix="give another folder",
        )  # fmt: skip


def _listed(source: Path, dataset: ActionDataset | None) -> tuple[list[Path], list[Path]]:
    """Videos, and other files, by their paths below the source."""
    files = list(_files_below(source))
    if dataset is None:
        videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    else:
        videos = sorted({_below(source, record.clip_id, record.video) for record in dataset.records if record.video})
    if not videos:
        raise DatasetError(
            "there are no videos here", file=source, expected=f"files {', '.join(VIDEO_SUFFIXES)}", fix="check the folder"
        )
    taken = set(videos)
    return videos, [path for path in files if path not in taken]


def _files_below(source: Path) -> Iterator[Path]:
    root = source.absolute()
    for folder, names in walk_folders(source, expected="a folder with videos", fix="check its name"):
        yield from (folder.relative_to(root) / name for name in names if not name.startswith("."))


def _below(source: Path, clip_id: str, video: Path) -> Path:
    if video.is_dir():
        raise DatasetError(
            "a clip's video is a folder of images", file=video, place=f"clip {clip_id}",
            fix="no rescaling is needed: extract_person_clips.py --box whole makes images of the size asked for",
        )  # fmt: skip
    try:
        return video.absolute().relative_to(source.absolute())
    except ValueError:
        raise DatasetError(
            "a clip's video lies outside of the source", file=video, place=f"clip {clip_id}", expected=f"a file below {source}",
            fix="give a folder that holds all videos of the data set",
        ) from None  # fmt: skip


def _targets(videos: Sequence[Path], config: RescaleConfig) -> Mapping[Path, Path]:
    """Path to write → video, both below their folders."""
    targets: dict[Path, Path] = {}
    for video in videos:
        other = targets.setdefault(video.with_suffix(config.suffix(video)), video)
        if other != video:
            raise DatasetError(
                "two videos would be written to one file", file=video, found=f"also {other}", fix="rename one of the two"
            )
    return targets


def _check_settings(directory: Path, config: RescaleConfig) -> None:
    """Notes the configuration in the folder, or compares it with the one that is there."""
    file, wanted = directory / SETTINGS_NAME, asdict(config)
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            raise CacheError(
                "the folder holds videos that were rescaled in another way", file=file, found=found, expected=wanted,
                fix="give the same options, or another folder",
            )  # fmt: skip
        return
    with whole_file(file, shared=True) as part:
        part.write_text(json.dumps(wanted) + "\n", encoding="utf-8")


def _link(source: Path, directory: Path, others: Sequence[Path]) -> int:
    """Links to files that are not there yet; gives their number."""
    count = 0
    for path in others:
        target = directory / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # another run was faster
                os.symlink((source / path).absolute(), target)
                count += 1
    return count
