"""The data set on disk: names, formats, determinism, matched samples, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError, DatasetError, DiskFullError
from keras_actrec.synthetic.actions import SYNTHETIC_ACTIONS
from keras_actrec.synthetic.cameras import ntu_camera
from keras_actrec.synthetic.dataset import SyntheticClip, SyntheticConfig, record, stage, synthetic_clips, write_synthetic_ntu
from keras_actrec.video.decode import VideoReader

SMALL = SyntheticConfig(subjects=(3,), cameras=(1,), frames=(8, 9), width=128, height=72)


def digests(root: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_synthetic_ntu(tmp_path_factory.mktemp("ntu"), SMALL, workers=1, progress=False)


def test_files_have_ntu_names(root):
    skeletons = sorted(p.name for p in (root / "nturgb+d_skeletons").iterdir())
    videos = sorted(p.name for p in (root / "nturgb+d_rgb").iterdir())
    names = [f"S002C001P003R001A{action:03d}" for action in range(1, 10)]  # set-up 1 + 3 // 3 % 3
    assert skeletons == [f"{name}.skeleton" for name in names]
    assert videos == [f"{name}_rgb.avi" for name in names]


def test_skeletons_and_videos_come_back_from_their_files(root):
    for clip in synthetic_clips(SMALL)[:3]:
        sequence, frames = record(clip, SMALL)
        read = read_ntu_skeleton(root / "nturgb+d_skeletons" / f"{clip.name}.skeleton")
        assert read.length == sequence.length and set(read.body_ids) == set(sequence.body_ids)
        slots = [sequence.body_ids.index(body) for body in read.body_ids]  # the reader lists bodies as they appear
        np.testing.assert_allclose(read.joints, sequence.joints[:, slots], rtol=1e-6)
        np.testing.assert_allclose(read.pixels, sequence.pixels[:, slots], rtol=1e-6)
        np.testing.assert_array_equal(read.tracking, sequence.tracking[:, slots])
        with VideoReader(root / "nturgb+d_rgb" / f"{clip.name}_rgb.avi") as video:
            assert (video.width, video.height) == (128, 72)
            decoded = list(video.frames())
        drawn = list(frames)
        assert len(decoded) == len(drawn) == sequence.length
        assert np.abs(np.float32(decoded) - np.float32(drawn)).mean() < 6  # JPEG


def test_the_seed_alone_decides_not_the_number_of_workers(root, tmp_path):
    two = SyntheticConfig(subjects=(3,), cameras=(1,), frames=(8, 9), width=128, height=72)
    again = write_synthetic_ntu(tmp_path / "again", two, workers=2, progress=False)
    assert digests(again) == digests(root)
    other = SyntheticConfig(subjects=(3,), cameras=(1,), frames=(8, 9), width=128, height=72, seed=1)
    clip = synthetic_clips(other)[0]
    a, b = stage(clip, SMALL), stage(clip, other)
    assert a.joints.shape != b.joints.shape or not np.allclose(a.joints, b.joints)


def test_existing_files_are_kept_and_missing_ones_made_again(root, tmp_path):
    wanted = digests(root)
    missing = root / "nturgb+d_rgb" / "S002C001P003R001A002_rgb.avi"
    kept = root / "nturgb+d_skeletons" / "S002C001P003R001A001.skeleton"
    time = kept.stat().st_mtime_ns
    missing.unlink()
    write_synthetic_ntu(root, SMALL, workers=1, progress=False)
    assert digests(root) == wanted
    assert kept.stat().st_mtime_ns == time


def test_another_configuration_is_refused(root):
    other = SyntheticConfig(subjects=(3,), cameras=(1,), frames=(8, 10), width=128, height=72)
    with pytest.raises(
        DatasetError, match=r"synthetic\.json, frames.*found \[\[8, 9\]\].*expected \[\[8, 10\]\].*another folder"
    ):
        write_synthetic_ntu(root, other, workers=1, progress=False)


def test_a_damaged_marker_is_refused(tmp_path):
    (tmp_path / "synthetic.json").write_text("[1]")
    with pytest.raises(DatasetError, match=r"synthetic\.json.*another folder"):
        write_synthetic_ntu(tmp_path, SMALL, workers=1, progress=False)


def test_real_data_are_never_mixed_with_synthetic_ones(tmp_path):
    folder = tmp_path / "nturgb+d_skeletons"
    folder.mkdir()
    (folder / "S001C001P001R001A001.skeleton").write_text("1\n0\n")
    with pytest.raises(DatasetError, match="not made here"):
        write_synthetic_ntu(tmp_path, SMALL, workers=1, progress=False)
    assert not (tmp_path / "synthetic.json").exists()


def test_marker_holds_the_configuration(root):
    marker = json.loads((root / "synthetic.json").read_text())
    assert marker["subjects"] == [3] and marker["frames"] == [8, 9] and marker["seed"] == 0


def test_object_classes_are_matched_samples():
    actions = [i + 1 for i, action in enumerate(SYNTHETIC_ACTIONS) if action.kind == "object"]
    stagings = [stage(SyntheticClip(1, 4, 1, action), SMALL) for action in actions]
    for other in stagings[1:]:
        np.testing.assert_array_equal(other.joints, stagings[0].joints)
    assert len({s.held[0].name for s in stagings}) == 3 and len({s.held[0].hand for s in stagings}) == 1


def test_both_hands_hold_objects_over_the_subjects():
    hands = {stage(SyntheticClip(1, subject, 1, 5), SMALL).held[0].hand for subject in range(1, 9)}
    assert hands == {7, 11}


def test_all_cameras_see_one_performance():
    quiet = SyntheticConfig(faults=False)
    world = []
    for number in (1, 2, 3):
        clip = SyntheticClip(number, 1, 1, 1)
        camera = ntu_camera(clip.setup, number, quiet.width, quiet.height)
        world.append(record(clip, quiet)[0].joints @ camera.axes + camera.position)
    for other in world[1:]:
        assert np.abs(other - world[0]).max() < 0.1  # the sensors' noise, largest where joints are inferred
        assert np.abs(other - world[0]).mean() < 0.01


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1}, {"subjects": ()}, {"subjects": (1, 1)}, {"subjects": (0,)}, {"cameras": (4,)}, {"replications": 0},
        {"frames": (4, 8)}, {"frames": (20, 10)}, {"width": 961}, {"height": 2}, {"frame_rate": 0.0},
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        SyntheticConfig(**values)


def test_workers_below_one_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="workers"):
        write_synthetic_ntu(tmp_path, SMALL, workers=0)


@pytest.mark.parametrize(("size", "name"), [(10, "synthetic.json"), (5_000, "_rgb.avi")])
def test_a_full_disk_names_the_file_and_leaves_nothing_unfinished(tmp_path, full_disk, size, name):
    with full_disk(size), pytest.raises(DiskFullError, match=rf"{name}: no space left.*Free some space"):
        write_synthetic_ntu(tmp_path, SMALL, workers=1, progress=False)
    assert not [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != "synthetic.json"]
    assert (tmp_path / "synthetic.json").exists() == (name != "synthetic.json")
