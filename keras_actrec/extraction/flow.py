"""Videos → the cache of optical flow.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
the second stream of the two takes optical flow, as TSN does (see `video/optical_flow.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.cache.flow import FlowShardWriter, flow_cache_options
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, CacheIndex, plan_cache
from keras_actrec.datasets.record import ActionDataset, ClipRecord, LeftOut
from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.extraction.poses import clips_with_poses
from keras_actrec.extraction.run import ExtractionReport, check_clip_seconds, run_extraction
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.optical_flow import FlowConfig, flow_frames, flow_method
from keras_actrec.video.time_limit import CLIP_SECONDS

_STAGE = "flow"
_FLOW = FlowConfig()
_EXTRA_FRAMES = 5


def flow_videos(
    dataset: ActionDataset, pose_directory: str | Path | None = None
) -> tuple[dict[str, Path | None], dict[str, int] | None]:
    """The videos of a data set and the lengths of its clips: the arguments of `extract_flow` of these names.

    Args:
        dataset: with videos.
        pose_directory: its pose cache: then only clips with poses, as long as these; None takes all frames of all records.

    Raises:
        CacheError: the pose cache is absent, incomplete, of another data set, or lacks clips.
    """
    videos = {record.clip_id: record.video for record in dataset.records}
    if pose_directory is None:
        return videos, None
    clips, _ = clips_with_poses(dataset, pose_directory)
    with PoseCache(pose_directory) as poses:
        return {clip: videos[clip] for clip in clips}, {clip: poses.lengths[clip] for clip in clips}


def extract_flow(
    videos: Mapping[str, Path | None] | Iterable[ClipRecord],
    directory: str | Path,
    *,
    dataset: str,
    flow: FlowConfig = _FLOW,
    lengths: Mapping[str, int] | None = None,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
    clip_seconds: float | None = CLIP_SECONDS,
) -> ExtractionReport:
    """Writes the optical flow of videos, or goes on with a cache that was begun.

    Two pictures are in memory at a time. The cache holds the same bytes whatever the number of workers.

    Args:
        videos: clip id → video file, or folder of images; or the records of a data set.
        directory: folder of the cache to write.
        dataset: name of the data set.
        flow: how the flow is computed.
        lengths: clip id → frames of each clip, those of its skeleton for instance: further frames of the video are not read.
            None takes all frames of each video. Which of the two is stored in the cache.
        workers, progress, share, retry_left_out: see `run_extraction`.
        clips_per_shard: of a new cache; what a killed run can lose.
        clip_seconds: that decoding a clip may take; a clip over it is left out. None sets no limit.

    Returns:
        The report. A clip whose video is absent, does not decode or is shorter than its length is left out.

    Raises:
        ConfigError: this OpenCV has no TV-L1; a clip has no length, or one below 1; or as for `run_extraction`.
        CacheError, DiskFullError: see `run_extraction`.
    """
    flow_method(flow)  # Fails here, once, and before the folder is made.
    check_clip_seconds(clip_seconds)
    directory = Path(directory)
    if not isinstance(videos, Mapping):
        videos = {record.clip_id: record.video for record in videos}
    if lengths is not None:
        _check_lengths(videos, lengths)
        lengths = {clip_id: int(lengths[clip_id]) for clip_id in videos}
    options = flow_cache_options(dataset, flow, given_lengths=lengths is not None)
    index = plan_cache(directory, options, videos, clips_per_shard=clips_per_shard)
    return run_extraction(
        _FlowJob(directory, index, dict(videos), flow, lengths, clip_seconds),
        directory,
        index,
        videos,
        title="optical flow",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
        unit="frames",
    )


@dataclass(frozen=True)
class _FlowJob:
    """Writes shards of optical flow (a `ShardJob`)."""

    directory: Path
    index: CacheIndex
    videos: Mapping[str, Path | None]
    flow: FlowConfig
    lengths: Mapping[str, int] | None
    clip_seconds: float | None = CLIP_SECONDS

    def reads(self) -> tuple[Path, ...]:
        return one_there(self.videos.values())

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            cv2.setNumThreads(threads)
        return lambda shard, tick: self._write(threads, shard, tick)

    def _write(self, threads: int | None, shard: int, tick: Tick) -> ShardResult:
        clips = self.index.shards[shard]
        left_out, notes, frames = [], [], 0
        with FlowShardWriter(self.directory, self.index, shard) as writer:
            for clip_id in clips:
                try:
                    count, remarks = self._clip(writer, clip_id, threads)
                except VideoError as error:
                    left_out.append(LeftOut(clip_id, _STAGE, str(error), error.file or ""))
                    writer.discard_clip(left_out[-1])
                else:
                    frames += count
                    notes += remarks
                tick(1)
            writer.finish()
        return ShardResult(shard, len(clips) - len(left_out), tuple(left_out), frames, tuple(notes))

    def _clip(self, writer: FlowShardWriter, clip_id: str, threads: int | None) -> tuple[int, list[str]]:
        """Writes a clip; gives its number of frames and remarks."""
        path = self.videos[clip_id]
        if path is None:
            raise VideoError("the clip has no video", place=f"clip {clip_id}", fix="check the data root, or leave the clip out")
        wanted = None if self.lengths is None else np.ones(self.lengths[clip_id], bool)
        with VideoReader(path, threads=threads, time_limit=self.clip_seconds) as video:
            writer.begin_clip(clip_id, (video.width, video.height))
            count = 0
            for frame in flow_frames(video.frames(wanted), self.flow):
                writer.write(frame)
                count += 1
            writer.end_clip()
            extra = 0 if wanted is None else video.frame_count - count
        note = f"{clip_id}: the video has {extra} frames more than its skeleton; they were not read"
        return count, [note] if extra > _EXTRA_FRAMES else []


def _check_lengths(videos: Iterable[str], lengths: Mapping[str, int]) -> None:
    without = [clip_id for clip_id in videos if clip_id not in lengths]
    if without:
        found = f"{len(without)} clips without one, e.g. {without[0]}"
        raise ConfigError("a clip has no length", found=found, fix="give only the videos of clips that have one")
    short = next((clip_id for clip_id in videos if lengths[clip_id] < 1), None)
    if short is not None:
        raise ConfigError("the length of a clip is at least one frame", place=f"clip {short}", found=lengths[short])
