"""From a list of videos to a data set: poses are estimated for the clips that come without."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import LeftOut
from keras_actrec.datasets.video_list import VideoList, read_video_list
from keras_actrec.errors import DatasetError, VideoError
from keras_actrec.extraction.estimated_poses import estimate_poses
from keras_actrec.pose_estimation.estimator import PoseEstimationConfig
from keras_actrec.video.decode import VideoReader

log = logging.getLogger(__name__)

LIST, POSES = "clips.csv", "pose_files"
_MEASURED = 25


@dataclass(frozen=True)
class VideoListConfig:
    """Which clips, and how their poses are found.

    Attributes:
        csv: the list: `video`, `label`, and if there are any `clip`, `skeleton`, `split…`, `subject`, `camera`, `frame_rate`.
        test_share, seed: see `read_video_list`.
        poses: how people are found, for clips without a skeleton.
        pose_model: `.task` file of the pose landmarker; None finds or fetches it.
        workers: processes.
    """

    csv: Path
    test_share: float = 0.3
    seed: int = 0
    poses: PoseEstimationConfig = PoseEstimationConfig()
    pose_model: Path | None = None
    workers: int = 1


class ListedVideos(OwnDataset):
    """The clips of a list whose poses are estimated; those whose video does not read are among `left_out`, with the reason.

    Args:
        csv: the list with a skeleton for every clip.
        listed: the list that was given; the data set has its name in result files.
        unread: clips of it that are not in `csv`.
    """

    def __init__(self, csv: Path, *, listed: VideoList, unread: tuple[LeftOut, ...]):
        super().__init__(csv, name=listed.file.stem)
        self.left_out = (*self.left_out, *unread)
        for column, sides in self._sides.items():
            sides |= dict(zip(listed.table["clip"], listed.table[column], strict=True))


def open_videos(config: VideoListConfig, directory: Path) -> ListedVideos:
    """Estimates the poses that are missing and opens the clips; the same call goes on where one was stopped.

    Args:
        config: which clips.
        directory: for the pose files (`pose_files/CLIP.npz`) and the whole list (`clips.csv`).

    Raises:
        DatasetError: the list or one of its rows is wrong, see `read_video_list` and `OwnDataset`; or it has a single label.
        ConfigError, WeightsError, CacheError, DiskFullError: see `estimate_poses`.
    """
    videos = read_video_list(config.csv, test_share=config.test_share, seed=config.seed)
    if videos.table["label"].nunique() < 2:
        raise DatasetError(
            "there is nothing to tell apart", file=config.csv, found=f"one label, {videos.table['label'][0]!r}",
            expected="at least 2 classes", fix="add clips of another class",
        )  # fmt: skip
    estimated = estimate_poses(
        videos.videos, directory / POSES, config=config.poses, model=config.pose_model, workers=config.workers, progress=True
    )
    if videos.drawn:
        log.info("no column split: a share of %g of each class is put to the test", config.test_share)
    path = videos.with_skeletons(estimated.files, directory / LIST)
    return ListedVideos(path, listed=videos, unread=estimated.left_out)


def usual_height(dataset: OwnDataset) -> int:
    """Median height in pixels of some of the videos, evenly taken from the list. Raises VideoError where none of them reads."""
    videos = [record.video for record in dataset.records if record.video is not None]
    heights, errors = [], []
    for index in np.unique(np.linspace(0, len(videos) - 1, min(_MEASURED, len(videos))).astype(int)):
        try:
            with VideoReader(videos[index]) as reader:
                heights.append(reader.height)
        except VideoError as error:
            errors.append(error)
    if not heights:
        raise errors[0] if errors else VideoError("no clip of the list has a video", file=dataset.csv)
    return int(np.median(heights))
