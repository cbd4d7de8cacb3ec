"""Pictures of a data set: from videos with the lengths of poses or their own, and what cannot be opened."""

from __future__ import annotations

import pytest

from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, DatasetError
from keras_actrec.extraction.pictures import cube_layout, dataset_pictures
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import JHMDB_15
from tests.extraction.small import clip_name, write_clip


@pytest.fixture
def place(tmp_path):
    """Two clips, the first with a video that is longer than its skeleton."""
    write_clip(tmp_path / "ntu", 1, length=5, video_length=7)
    write_clip(tmp_path / "ntu", 2, length=6)
    return tmp_path


def test_lengths_of_poses_or_of_videos(place):
    data = NTURGBD(place / "ntu")
    extract_poses(data, place / "poses", layout=JHMDB_15)
    with_poses = dataset_pictures(data, (24, 32), pose_directory=place / "poses")
    assert dict(with_poses.lengths) == {clip_name(1): 5, clip_name(2): 6}
    alone = dataset_pictures(data, (24, 32))
    assert {clip: alone.lengths[clip] for clip in alone.lengths} == {clip_name(1): 7, clip_name(2): 6}
    assert alone.picture_size == (24, 32)
    assert cube_layout(data, place / "poses") == JHMDB_15 and cube_layout(data, None) == KINECT_V2


def test_what_cannot_be_opened(place):
    for video in (place / "ntu").glob("*.avi"):
        video.unlink()
    with pytest.raises(DatasetError, match=r"no clip has a video \(found 2 clips"):
        dataset_pictures(NTURGBD(place / "ntu", modality="skeleton"), (24, 32))
    data = NTURGBD(place / "ntu", modality="skeleton")
    for options in ({"pose_directory": place / "none"}, {"flow_directory": place / "none"}):
        with pytest.raises(CacheError, match="there is no cache here"):
            dataset_pictures(data, (24, 32), **options)
