"""Pictures + poses → frame cubes: those of a direct forward pass over the views of `FrameClipSource`; kills, other options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.flow import FlowCache
from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.extraction import frame_cubes
from keras_actrec.extraction.flow import extract_flow, flow_videos
from keras_actrec.extraction.frame_cubes import FrameCubeJob, extract_frame_cubes, frame_cube_options
from keras_actrec.extraction.pictures import cube_layout, dataset_pictures
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.pipelines.frame_clips import FrameClipSource, FrameCubeSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.video.clip_pictures import VideoPictures
from keras_actrec.video.frame_clips import FrameClipConfig, training_views
from keras_actrec.video.optical_flow import FlowConfig
from tests.experiments.test_scripts import REPOSITORY, run
from tests.extraction import view_caches
from tests.extraction.small import HEIGHT, WIDTH, clip_name
from tests.extraction.view_caches import LABELS, LENGTHS, assert_close, assert_equal, check_kill, enlarged, write_clips

SIZE = (32, 48)
BACKBONE = FrameBackboneConfig(weights="random", picture_size=SIZE)
VIEWS = FrameClipConfig(frames=3, picture_size=SIZE, views=2, seed=3)
TRAINING_VIEWS = 3
NAMES = ("cubes", "pooled", "joints")


def tiny_backbone(config: FrameBackboneConfig, weights=None) -> keras.Model:
    """(H, W, C) → cube (H / 16, W / 16, 5) and pooled 4, in the place of the ResNet."""
    picture = keras.Input((*config.picture_size, config.channels), name="picture")
    initializers = [keras.initializers.HeNormal(config.seed + number) for number in range(2)]
    cube = keras.layers.Conv2D(5, 16, strides=16, kernel_initializer=initializers[0])(picture)
    pooled = keras.layers.Dense(4, kernel_initializer=initializers[1])(keras.layers.GlobalAveragePooling2D()(cube))
    model = keras.Model(picture, {"cube": cube, "pooled": pooled}, name="tiny")
    if weights is not None:
        model.set_weights(list(weights))
    return model


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(frame_cubes, "build_frame_backbone", tiny_backbone)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three clips with videos, and their poses."""
    place = tmp_path_factory.mktemp("ntu")
    extract_poses(write_clips(place / "ntu"), place / "poses")
    return place


def videos(place: Path) -> VideoPictures:
    return dataset_pictures(NTURGBD(place / "ntu"), SIZE, pose_directory=place / "poses")


def extract(place: Path, directory: Path, *, pictures=None, poses: str | None = "poses", **options):
    """Batches of 4 frames out of 15 of a clip: they run across views and clips, the last is padded."""
    defaults = {
        "dataset": "ntu_rgbd", "layout": KINECT_V2, "backbone": BACKBONE, "views": VIEWS, "training_views": TRAINING_VIEWS,
        "batch_size": 4, "clips_per_shard": 2, "progress": False, "pose_directory": poses and place / poses,
    }  # fmt: skip
    return extract_frame_cubes(pictures or videos(place), directory, **defaults | options)


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """The cache of an uninterrupted run."""
    directory = tmp_path_factory.mktemp("cubes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_cubes, "build_frame_backbone", tiny_backbone)
        report = extract(place, directory)
    assert (report.done, report.skipped, report.left_out) == (3, 0, ())
    return directory


def every_array(directory) -> dict[str, np.ndarray]:
    return view_caches.every_array(FrameCubeCache, directory, NAMES)


@pytest.fixture
def clip_source(place):
    with PoseCache(place / "poses") as poses:
        yield FrameClipSource(videos(place), poses, LABELS, VIEWS, layout=KINECT_V2)


def assert_backbone_of(batch, clips, backbone=BACKBONE):
    """The batch of cubes is what the backbone makes of the frames of the batch of clips, with the same joints."""
    shape = clips["clip"].shape
    outputs = tiny_backbone(backbone)(clips["clip"].reshape(-1, *shape[2:]))
    cubes, pooled = (np.asarray(outputs[name]).reshape(*shape[:2], *outputs[name].shape[1:]) for name in ("cube", "pooled"))
    np.testing.assert_allclose(batch["cube"], cubes, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(batch["pooled"], pooled, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch["joints"], clips["joints"])


def test_the_first_views_are_those_of_a_test_on_clips(whole, clip_source):
    with FrameCubeCache(whole) as cache:
        assert (cache.cube_shape, cache.pooled_shape, cache.joints_shape) == ((3, 2, 3, 5), (3, 4), (3, 25, 2))
        assert dict(cache.lengths) == LENGTHS and cache.has_poses
        batch, labels = FrameCubeSource(cache, LABELS, VIEWS, layout=KINECT_V2).test_batch(list(LENGTHS))
    clips, expected = clip_source.test_batch(list(LENGTHS))
    np.testing.assert_array_equal(labels, expected)
    assert_backbone_of(batch, clips)
    assert np.isfinite(batch["joints"]).all()
    assert verify_cache(whole).ok


def test_the_others_are_each_clips_own_and_every_second_one_is_mirrored(whole, clip_source):
    with FrameCubeCache(whole) as cache:
        source = FrameCubeSource(cache, LABELS, VIEWS, layout=KINECT_V2)
        for clip in LENGTHS:
            batch, _ = source.training_batch([clip] * 3, np.array([[0.0], [0.5], [0.99]]))
            views = training_views(VIEWS, clip, 3)
            assert_backbone_of(batch, clip_source.training_batch([clip] * 3, views)[0])
            unmirrored, _ = clip_source.training_batch([clip], views[1:2] * [1, 0])
            left, right = KINECT_V2.hands
            np.testing.assert_allclose(batch["joints"][1, :, left], unmirrored["joints"][0, :, right] * [-1, 1], atol=1e-6)


def test_a_second_run_skips_and_shares_add_up(whole, place, tmp_path):
    report = extract(place, whole)
    assert (report.done, report.skipped) == (0, 3)
    for part in range(2):
        extract(place, tmp_path, share=(part, 2))
    assert_equal(every_array(whole), every_array(tmp_path))


def test_the_number_of_frames_at_once_changes_nothing_that_matters(whole, place, tmp_path):
    extract(place, tmp_path, batch_size=16)
    assert_close(every_array(whole), every_array(tmp_path))


def test_without_poses_joints_are_unknown_and_lengths_are_counted(whole, place, tmp_path):
    pictures = dataset_pictures(NTURGBD(place / "ntu"), SIZE)
    extract(place, tmp_path, pictures=pictures, poses=None, layout=JHMDB_15)
    with FrameCubeCache(tmp_path) as cache:
        assert dict(cache.lengths) == LENGTHS and not cache.has_poses
        assert (cache.options.layout, cache.joints_shape) == ("jhmdb_15", (3, 15, 2))
    arrays = every_array(tmp_path)
    assert np.isnan(arrays.pop("joints")).all()
    assert_equal(arrays, every_array(whole))
    assert verify_cache(tmp_path).ok


def test_joints_of_another_size(whole, place, tmp_path):
    extract(place, tmp_path, pixel_size=(2 * WIDTH, HEIGHT))
    expected = every_array(whole)["joints"].reshape(3, 5, 3, 25, 2)
    found = every_array(tmp_path)["joints"].reshape(expected.shape)
    assert (FrameCubeCache(tmp_path).options.options["poses"]["pixel_size"]) == [2 * WIDTH, HEIGHT]
    np.testing.assert_allclose(found[:, :2, ..., 0], (expected[:, :2, ..., 0] + 1) / 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(found[:, :2, ..., 1], expected[:, :2, ..., 1])


def test_clips_that_do_not_read_are_left_out_and_can_be_retried(whole, place, tmp_path):
    files = {clip: place / "ntu" / f"{clip}_rgb.avi" for clip in LENGTHS}
    (tmp_path / "junk.avi").write_bytes(b"junk")
    damaged = files | {clip_name(1): None, clip_name(2): tmp_path / "junk.avi"}
    report = extract(place, tmp_path / "cubes", pictures=VideoPictures(damaged, SIZE, lengths=LENGTHS))
    assert report.done == 1
    assert {(entry.clip_id, entry.stage) for entry in report.left_out} == {(clip_name(n), "frame_cubes") for n in (1, 2)}
    assert {entry.clip_id: "no video" in entry.reason for entry in report.left_out} == {clip_name(1): True, clip_name(2): False}
    longer = VideoPictures(files, SIZE, lengths=LENGTHS | {clip_name(2): 9})
    report = extract(place, tmp_path / "cubes", pictures=longer, retry_left_out=True)
    assert [entry.clip_id for entry in report.left_out] == [clip_name(2)]
    assert "not those of the poses (found 9 frames, expected 10 frames" in report.left_out[0].reason.replace(", as its", "")
    assert extract(place, tmp_path / "cubes", retry_left_out=True).left_out == ()
    assert_equal(every_array(whole), every_array(tmp_path / "cubes"))


# Optical flow -----------------------------------------------------------------------------------------------------------


def test_flow_goes_the_same_way(place, tmp_path):
    data = NTURGBD(place / "ntu")
    files, lengths = flow_videos(data, place / "poses")
    flow = FlowConfig(picture_size=SIZE, preset="ultrafast")
    extract_flow(files, tmp_path / "flow", dataset=data.name, flow=flow, lengths=lengths)
    pictures = dataset_pictures(data, (1, 1), pose_directory=place / "poses", flow_directory=tmp_path / "flow")
    backbone = replace(BACKBONE, channels=10)
    extract(place, tmp_path / "cubes", pictures=pictures, backbone=backbone)
    with (
        FrameCubeCache(tmp_path / "cubes") as cache,
        FlowCache(tmp_path / "flow") as stacks,
        PoseCache(place / "poses") as poses,
    ):
        assert cache.options.options["stream"] == stacks.stream
        cubes = FrameCubeSource(cache, LABELS, VIEWS, layout=KINECT_V2)
        clips = FrameClipSource(stacks, poses, LABELS, VIEWS, layout=KINECT_V2)
        assert clips.shapes["clip"] == (3, *SIZE, 10)
        assert_backbone_of(cubes.test_batch(list(LENGTHS))[0], clips.test_batch(list(LENGTHS))[0], backbone)
        views = training_views(VIEWS, clip_name(2), 3)
        batch = clips.training_batch([clip_name(2)] * 3, views)[0]
        assert_backbone_of(cubes.training_batch([clip_name(2)] * 3, np.array([[0.0], [0.5], [0.99]]))[0], batch, backbone)
    with pytest.raises(CacheError, match=r"optical flow is of another data set .*found ntu_rgbd, expected other"):
        data.name = "other"
        dataset_pictures(data, SIZE, flow_directory=tmp_path / "flow")


# Kills and processes ----------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from keras_actrec.extraction import frame_cubes
from tests.extraction.test_frame_cubes import extract, tiny_backbone
from tests.extraction.view_caches import pause_in_shard_1
pause_in_shard_1()
frame_cubes.build_frame_backbone = tiny_backbone
extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, place, tmp_path):
    check_kill(KILLED, place, tmp_path, extract)
    assert_equal(every_array(whole), every_array(tmp_path))


class TinyJob(FrameCubeJob):
    """The job with the small backbone, in worker processes too."""

    def build(self, weights):
        return tiny_backbone(replace(self.backbone, seed=99), weights=weights)  # other values, unless weights come along


def test_worker_processes_compute_the_same(whole, place, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_cubes, "FrameCubeJob", TinyJob)
    extract(place, tmp_path, workers=2)
    assert_close(every_array(whole), every_array(tmp_path))


# Options ------------------------------------------------------------------------------------------------------------


def test_the_options_are_what_a_reader_can_expect(whole, place):
    with PoseCache(place / "poses") as poses:
        expected = frame_cube_options(
            "rgb", dataset="ntu_rgbd", layout=KINECT_V2, poses=poses.options, pixel_size=None, backbone=BACKBONE,
            views=VIEWS, training_views=TRAINING_VIEWS, checksum=weights_checksum(tiny_backbone(BACKBONE)),
        )  # fmt: skip
    FrameCubeCache(whole, expected).close()
    assert expected.options["picture_size"] == [32, 48] and expected.options["stream"] == "rgb"
    assert {"weights", "seed", "picture_size"}.isdisjoint(expected.options["backbone"])
    assert cube_layout(NTURGBD(place / "ntu"), place / "poses") == KINECT_V2 == cube_layout(NTURGBD(place / "ntu"), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"views": replace(VIEWS, views=3)}, "views.views: found 2, expected 3"),
        ({"views": replace(VIEWS, mirror=False)}, "views.mirror: found True, expected False"),
        ({"training_views": 4}, "views.training: found 3, expected 4"),
        ({"poses": None}, "poses: found 'absent', expected None"),
        ({"pixel_size": (9, 9)}, "poses.pixel_size: found None, expected [9, 9]"),
        ({"backbone": replace(BACKBONE, seed=1)}, "weights_checksum: found"),
    ],
)
def test_a_cache_made_with_other_options_is_refused(whole, place, changes, words):
    with pytest.raises(CacheError, match="made with other options") as error:
        extract(place, whole, **changes)
    assert words in str(error.value)


def test_poses_that_do_not_fit(place, tmp_path):
    with pytest.raises(CacheError, match=r"pose cache is of another data set .*found ntu_rgbd, expected jhmdb"):
        extract(place, tmp_path / "cubes", dataset="jhmdb")
    with pytest.raises(CacheError, match=r"pose cache is of another layout .*found kinect_v2, expected jhmdb_15"):
        extract(place, tmp_path / "cubes", layout=JHMDB_15)
    with pytest.raises(CacheError, match=r"the pose cache lacks clips .*found 1 of 4, e\.g\. x.*extract_poses\.py first"):
        extract(place, tmp_path / "cubes", pictures=VideoPictures(dict.fromkeys([*LENGTHS, "x"]), SIZE))
    assert not (tmp_path / "cubes").exists()


def test_values_beyond_float16(place, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_cubes, "build_frame_backbone", enlarged(tiny_backbone, 1e6))
    with pytest.raises(WeightsError, match="not finite or exceed float16"):
        extract(place, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"training_views": 0}, "training_views must be positive"),
        ({"pixel_size": (0, 5)}, r"pixel_size is \(width, height\)"),
        ({"views": replace(VIEWS, picture_size=(32, 64))}, r"of the pictures \(found \(32, 48\), expected \(32, 64\)"),
        ({"backbone": replace(BACKBONE, picture_size=(64, 64))}, r"of the network \(found \(64, 64\), expected \(32, 48\)"),
        ({"backbone": replace(BACKBONE, channels=10)}, r"channels of the network \(found 10, expected 3"),
    ],
)
def test_settings_that_make_no_sense(place, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        extract(place, tmp_path / "cubes", **changes)
    assert not (tmp_path / "cubes").exists()


# The whole network ------------------------------------------------------------------------------------------------------


def test_the_script_runs_a_real_network_with_and_without_poses(place, tmp_path):
    script = REPOSITORY / "preprocessing" / "extract_frame_cubes.py"
    size = ("--height", SIZE[0], "--width", SIZE[1], "--frames", 2, "--training-views", 1, "--no-mirror", "--no-progress")
    data = ("--dataset", "ntu_rgbd", "--data-root", place / "ntu", "--cache", tmp_path, "--backbone", "bn_inception")
    done = run(script, *data, "--poses", place / "poses", "--backbone-weights", "random", *size)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}: 3 clips written")
    with FrameCubeCache(tmp_path) as cache:
        assert (cache.cube_shape, cache.pooled_shape, cache.views) == ((2, 1, 2, 1024), (2, 1024), 2)
        assert cache.options.options["backbone"] == {
            "name": "bn_inception", "channels": 3, "layer": "inception_5a", "dtype": "float32",
        }  # fmt: skip
        assert cache.options.options["views"]["mirror"] is False
    done = run(script, *data, "--backbone-weights", "random", *size)
    assert done.returncode == 1 and "\nerror: " in "\n" + done.stderr and "made with other options" in done.stderr
