"""Pictures of the clips of a data set: from its videos, or from its cache of optical flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.errors import CacheError, DatasetError, VideoError
from keras_actrec.extraction.flow import flow_videos
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.video.clip_pictures import Pictures, VideoPictures, count_frames
from keras_actrec.video.decode import VideoReader


def dataset_pictures(
    dataset: ActionDataset,
    picture_size: tuple[int, int],
    *,
    pose_directory: str | Path | None = None,
    flow_directory: str | Path | None = None,
) -> Pictures:
    """Opens the pictures of a data set.

    Args:
        dataset: with videos, or the one that the flow is of.
        picture_size: (height, width); a cache of flow has its own.
        pose_directory: its pose cache: then clips without poses do not exist, and a clip has as many frames as poses.
        flow_directory: its cache of optical flow; None reads the videos.

    Raises:
        DatasetError: no clip has a video.
        CacheError: the pose cache is absent, incomplete, of another data set or lacks clips; the cache of flow is absent,
            incomplete or of another data set.
        ConfigError: a side of the pictures is below 1.
    """
    if flow_directory is not None:
        from keras_actrec.cache.flow import FlowCache

        flow = FlowCache(flow_directory)
        if flow.options.dataset != dataset.name:
            raise CacheError(
                "the cache of optical flow is of another data set", file=flow_directory, found=flow.options.dataset,
                expected=dataset.name,
            )  # fmt: skip
        return flow
    videos, lengths = flow_videos(dataset, pose_directory)
    if not any(videos.values()):
        raise DatasetError("no clip has a video", found=f"{len(videos)} clips", fix="get the videos of the data set")
    return VideoPictures(videos, picture_size, lengths=lengths)


def readable_videos(
    videos: Mapping[str, Path | None], lengths: Mapping[str, int] | None
) -> tuple[dict[str, int], tuple[LeftOut, ...]]:
    """Decodes every video once, for a training that reads them itself: a cache finds on the way which of them do not read.

    Args:
        videos: clip id → video file, or folder of images, of which only the number counts; None where there is none.
        lengths: clip id → frames that a clip has to have, see `flow_videos`; None takes all frames of each video.

    Returns:
        Clip id → frames, of the clips whose videos read; the other clips, and why.
    """
    found, left_out = {}, []
    for clip_id, video in videos.items():
        try:
            if video is None:
                fix = "check the data root, or leave the clip out"
                raise VideoError("the clip has no video", place=f"clip {clip_id}", fix=fix)
            found[clip_id] = count_frames(video) if lengths is None else _decoded(video, lengths[clip_id])
        except VideoError as error:
            left_out.append(LeftOut(clip_id, "pictures", str(error), error.file or ""))
    return found, tuple(left_out)


def _decoded(video: Path, frames: int) -> int:
    with VideoReader(video, threads=1) as reader:
        return sum(1 for _ in reader.frames(np.zeros(frames, bool)))


def cube_layout(dataset: ActionDataset, pose_directory: str | Path | None) -> SkeletonLayout:
    """The layout of joints beside pictures: that of the pose cache, or of the data set where there is none.

    Raises:
        CacheError: the pose cache is absent or incomplete.
        DatasetError: the data set has clips of several layouts.
    """
    if pose_directory is None:
        return dataset_layout(dataset)
    with PoseCache(pose_directory) as poses:
        return LAYOUTS[poses.options.layout]
