"""Videos → a folder with a pose file for each: poses estimated once, then read like any other skeletons."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from keras_actrec.datasets.pose_files import write_pose_file
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, SkeletonFormatError, VideoError
from keras_actrec.extraction.run import check_run
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers, run_shards
from keras_actrec.files import whole_file
from keras_actrec.pose_estimation.estimator import PoseEstimationConfig, PoseEstimator
from keras_actrec.pose_estimation.model_file import sha256
from keras_actrec.progress import progress_bar
from keras_actrec.video.time_limit import CLIP_SECONDS

OPTIONS = "poses.json"
_STAGE = "pose_estimation"
_CONFIG = PoseEstimationConfig()


@dataclass(frozen=True)
class EstimatedPoses:
    """What estimating the poses of some videos gave.

    Attributes:
        files: clip → its pose file, for every clip whose video reads. One in which nobody was found holds no body.
        left_out: the others, and why.
        done: clips of this run; the other files were there already.
    """

    files: Mapping[str, Path]
    left_out: tuple[LeftOut, ...]
    done: int


def estimate_poses(
    videos: Mapping[str, Path],
    directory: str | Path,
    *,
    config: PoseEstimationConfig = _CONFIG,
    model: str | Path | None = None,
    workers: Workers = 1,
    progress: bool | None = None,
) -> EstimatedPoses:
    """Writes `CLIP.npz` (`write_pose_file`) for every clip that has none yet; the same call goes on where one was stopped.

    Args:
        videos: clip id → its video.
        directory: folder of the pose files.
        config: how people are found.
        model: see `find_pose_model`.
        workers: processes, or a Ray cluster.
        progress: show a bar; None shows it on a terminal only.

    Raises:
        ConfigError: MediaPipe is not installed, or workers that make no sense.
        WeightsError: no model, or one that does not read.
        CacheError: the folder holds poses of other options or of another model; or a worker died.
        DiskFullError: no space left.
    """
    directory = Path(directory)
    check_run(workers, (0, 1))
    files = {clip: directory / f"{clip}.npz" for clip in videos}
    todo = tuple(clip for clip, file in files.items() if not file.is_file())
    left_out: tuple[LeftOut, ...] = ()
    wanted: dict[str, object] = asdict(config)
    if (directory / OPTIONS).exists():
        _check_options(directory / OPTIONS, wanted)  # where all poses are there, MediaPipe and its model need not be
    if todo:
        path = PoseEstimator(config, model).model  # what is missing is said before any worker starts
        wanted |= {"model": path.name, "sha256": sha256(path)}
        _check_options(directory / OPTIONS, wanted)
        job = _EstimationJob(directory, tuple((clip, Path(videos[clip])) for clip in todo), config, path)
        with progress_bar(len(todo), "poses", show=progress) as bar:
            results = run_shards(job, range(len(todo)), workers=workers, tick=bar.update)
        left_out = tuple(clip for result in results for clip in result.left_out)
    there = {clip: file for clip, file in files.items() if file.is_file()}
    return EstimatedPoses(MappingProxyType(there), left_out, len(todo) - len(left_out))


@dataclass(frozen=True)
class _EstimationJob:
    """A `ShardJob` whose shards are single clips."""

    directory: Path
    clips: tuple[tuple[str, Path], ...]
    config: PoseEstimationConfig
    model: Path

    def reads(self) -> tuple[Path, ...]:
        return (self.model, *one_there(video for _, video in self.clips))

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        estimator = PoseEstimator(self.config, self.model)
        return lambda shard, tick: self._write(estimator, shard, tick)

    def _write(self, estimator: PoseEstimator, shard: int, tick: Tick) -> ShardResult:
        clip, video = self.clips[shard]
        left_out: tuple[LeftOut, ...] = ()
        try:
            sequence = estimator.video(video, time_limit=CLIP_SECONDS)
        except (VideoError, SkeletonFormatError) as error:  # the latter: more frames than a clip can have
            left_out = (LeftOut(clip, _STAGE, str(error), error.file or ""),)
        else:
            write_pose_file(self.directory / f"{clip}.npz", sequence)
        tick(1)
        return ShardResult(shard, 1 - len(left_out), left_out)


def _check_options(path: Path, wanted: Mapping[str, object]) -> None:
    """Writes down what the folder's poses are made with, or raises CacheError where that is something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with whole_file(path, shared=True) as part:
            part.write_text(json.dumps(dict(wanted), indent=2) + "\n", encoding="utf-8")
        return
    except (OSError, ValueError) as error:
        raise CacheError(
            "what these poses were made with cannot be read", file=path, found=error, fix="delete the folder, or give another"
        ) from error
    for name in wanted:
        if not isinstance(found, dict) or found.get(name) != wanted[name]:
            raise CacheError(
                f"the folder holds poses that were estimated with another {name}", file=path,
                found=found.get(name) if isinstance(found, dict) else found, expected=wanted[name],
                fix="give another folder, or delete this one to estimate them anew",
            )  # fmt: skip
