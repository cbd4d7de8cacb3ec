"""Data set → pose cache: skeletons parsed, cleaned, retargeted, sampled and turned into pose tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, POSES, CacheIndex, CacheOptions, plan_cache
from keras_actrec.cache.writer import PoseShardWriter
from keras_actrec.datasets.record import ActionDataset, ClipRecord, LeftOut
from keras_actrec.errors import ActrecError, CacheError, DatasetError
from keras_actrec.extraction.run import ExtractionReport, run_extraction
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.retarget import retarget, retarget_map
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences

_STAGE = "poses"
_TENSOR, _SAMPLING = PoseTensorConfig(), SamplingConfig()


def pose_cache_options(
    dataset_name: str,
    layout: SkeletonLayout,
    cleaning: CleaningConfig,
    tensor: PoseTensorConfig,
    sampling: SamplingConfig,
    *,
    source_layout: SkeletonLayout | None = None,
) -> CacheOptions:
    """Options of the pose cache that `extract_poses` writes with these arguments; what a reader expects.

    Args:
        dataset_name: `ActionDataset.name`.
        layout: of the joints in the cache.
        cleaning, tensor, sampling: as for `extract_poses`.
        source_layout: of the data set; an option of its own where it is another one than that of the cache.
    """
    options = {"cleaning": asdict(cleaning), "tensor": asdict(tensor), "sampling": asdict(sampling)}
    if source_layout not in (None, layout):
        options["source_layout"] = source_layout.name
    return CacheOptions(POSES, dataset_name, layout.name, options)


def dataset_layout(dataset: ActionDataset) -> SkeletonLayout:
    """The one layout of all records. Raises DatasetError where there is no record or more than one layout."""
    layouts = {record.layout.name: record.layout for record in dataset.records}
    if len(layouts) != 1:
        found = ", ".join(sorted(layouts)) or "no records"
        raise DatasetError("a cache needs clips of one layout", found=found, fix="check the data root")
    return next(iter(layouts.values()))


def clips_with_poses(dataset: ActionDataset, pose_directory: str | Path) -> tuple[list[str], CacheOptions]:
    """Clips of the data set that its pose cache holds, and the options of that cache.

    Raises:
        CacheError: the pose cache is absent, incomplete, of another data set, or lacks clips of this one.
    """
    with PoseCache(pose_directory) as poses:
        if poses.options.dataset != dataset.name:
            raise CacheError(
                "the pose cache is of another data set", file=pose_directory, found=poses.options.dataset, expected=dataset.name
            )
        known = set(poses.lengths) | {entry.clip_id for entry in poses.left_out}
        unknown = [record.clip_id for record in dataset.records if record.clip_id not in known]
        if unknown:
            raise CacheError(
                "the pose cache lacks clips of the data set",
                file=pose_directory,
                found=f"{len(unknown)} of {len(dataset.records)}, e.g. {unknown[0]}",
                fix="run preprocessing/extract_poses.py first",
            )
        return [record.clip_id for record in dataset.records if record.clip_id in poses.lengths], poses.options


def extract_poses(
    dataset: ActionDataset,
    directory: str | Path,
    *,
    layout: SkeletonLayout | None = None,
    cleaning: CleaningConfig | None = None,
    tensor: PoseTensorConfig = _TENSOR,
    sampling: SamplingConfig = _SAMPLING,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
) -> ExtractionReport:
    """Writes the pose cache of a data set, or goes on with one that was begun.

    Args:
        dataset: gives the records and reads their skeletons.
        directory: folder of the cache.
        layout: the cleaned bodies are retargeted to it (`skeletons/retarget.py`), pixels too; None keeps the data set's own.
        cleaning: how people are found; None takes `dataset.cleaning`.
        tensor, sampling: what is computed from the joints. These, the layouts and the cleaning are stored in the cache; a cache
            with others is refused.
        workers, progress, share, retry_left_out: see `run_extraction`.
        clips_per_shard: of a new cache; what a killed run can lose.

    Returns:
        The report. A clip whose skeleton does not read or holds no body is left out, with the reason.

    Raises:
        CacheError, DiskFullError, ConfigError: see `run_extraction`. ConfigError too where the data set's layout does not give
            a joint of `layout`.
        DatasetError: the data set has no clips, or clips of several layouts.
    """
    directory = Path(directory)
    source_layout = dataset_layout(dataset)
    layout = layout or source_layout
    retarget_map(source_layout, layout)  # Fails here, once, and not in every clip.
    cleaning = cleaning or dataset.cleaning
    options = pose_cache_options(dataset.name, layout, cleaning, tensor, sampling, source_layout=source_layout)
    ids = [record.clip_id for record in dataset.records]
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = _PoseJob(dataset, directory, index, layout, cleaning, tensor, sampling)
    return run_extraction(
        job,
        directory,
        index,
        ids,
        title="poses",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


@dataclass(frozen=True)
class _PoseJob:
    dataset: ActionDataset
    directory: Path
    index: CacheIndex
    layout: SkeletonLayout
    cleaning: CleaningConfig
    tensor: PoseTensorConfig
    sampling: SamplingConfig

    def reads(self) -> tuple[Path, ...]:
        return one_there(record.skeleton for record in self.dataset.records)

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        records = {record.clip_id: record for record in self.dataset.records}
        return lambda shard, tick: self._write(records, shard, tick)

    def _write(self, records: dict[str, ClipRecord], shard: int, tick: Tick) -> ShardResult:
        left_out = []
        with PoseShardWriter(self.directory, self.index, shard) as writer:
            for clip_id in self.index.shards[shard]:
                try:
                    arrays = self._clip(records[clip_id])
                except ActrecError as error:
                    left_out.append(LeftOut(clip_id, _STAGE, str(error), error.file or ""))
                    writer.leave_out(left_out[-1])
                else:
                    writer.add(clip_id, **arrays)
                tick(1)
            writer.finish()
        return ShardResult(shard, len(self.index.shards[shard]) - len(left_out), tuple(left_out))

    def _clip(self, record: ClipRecord) -> dict[str, object]:
        """Everything that the cache holds of a clip: arguments of `PoseShardWriter.add`."""
        sequence, report = clean(self.dataset.load_skeleton(record), self.cleaning, file=record.skeleton)
        sequence = retarget(sequence, self.layout)
        tensor = clip_pose_tensor(sequence.joints, self.layout, self.tensor)
        frames = test_subsequences(sequence.length, self.sampling)
        pixels = sequence.pixels
        if pixels is None:
            pixels = np.full((*sequence.joints.shape[:3], 2), np.nan, np.float32)
        return {
            "joints": sequence.joints,
            "pixels": pixels,
            "test_frames": frames,
            "test_tensors": tensor[frames],
            "cleaning": asdict(report),
        }
