"""Clips + poses → glimpse maps: those of a direct forward pass over the views of `RGBClipSource`; kills, other options."""

from __future__ import annotations

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.glimpse_maps import GlimpseMapCache
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.extraction import glimpse_maps
from keras_actrec.extraction.glimpse_maps import GlimpseMapJob, extract_glimpse_maps, glimpse_map_options
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.pipelines.glimpse_clips import GlimpseMapSource, RGBClipSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.video.rgb_clips import RGBClipConfig, training_uniforms
from tests.experiments.test_scripts import REPOSITORY, run
from tests.extraction import view_caches
from tests.extraction.small import clip_name, write_clip
from tests.extraction.view_caches import LABELS, LENGTHS, assert_close, assert_equal, check_kill, enlarged, write_clips

FRAMES, SIZE, STORED = 2, 32, 36
BACKBONE = InflatedResNetConfig(weights="random", frames=FRAMES, image_size=SIZE)
VIEWS = RGBClipConfig(frames=FRAMES, image_size=SIZE, views=2, seed=3)
OPTIONS = {"backbone": BACKBONE, "views": VIEWS, "training_views": 3, "clips_per_shard": 2, "progress": False}
NAMES = ("maps", "context", "joints")


def tiny_backbone(config: InflatedResNetConfig, *, weights=None) -> keras.Model:
    """(T, S, S, 3) → map (T, S / 16, S / 16, 5) and pose map (T, S / 8, S / 8, 6), in the place of the ResNet."""
    clip = keras.Input((config.frames, config.image_size, config.image_size, 3), name="clip")
    initializers = [keras.initializers.HeNormal(config.seed + number) for number in range(2)]
    penultimate = keras.layers.Conv3D(6, (1, 8, 8), strides=(1, 8, 8), kernel_initializer=initializers[0])(clip)
    last = keras.layers.Conv3D(5, (1, 2, 2), strides=(1, 2, 2), kernel_initializer=initializers[1])(penultimate)
    model = keras.Model(clip, {"map": last, "pose_map": penultimate}, name="tiny")
    if weights is not None:
        model.set_weights(list(weights))
    return model


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(glimpse_maps, "build_inflated_resnet", tiny_backbone)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three clips, their poses, and their frames whole."""
    place = tmp_path_factory.mktemp("ntu")
    data = write_clips(place / "ntu")
    extract_poses(data, place / "poses")
    for storage, name in (("hdf5", "clips"), ("jpeg", "folders")):
        extract_person_clips(
            data, place / "poses", place / name, crop=PersonCropConfig(size=STORED, box="whole"), storage=storage
        )
    return place


def extract(place, directory, *, clips="clips", **options):
    return extract_glimpse_maps(place / clips, place / "poses", directory, **OPTIONS | {"batch_size": 4} | options)


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """The cache of an uninterrupted run. Batches of 4 rows out of 5 views: they run across clips, the last is padded."""
    directory = tmp_path_factory.mktemp("maps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glimpse_maps, "build_inflated_resnet", tiny_backbone)
        report = extract(place, directory)
    assert (report.done, report.skipped, report.left_out) == (3, 0, ())
    return directory


def every_array(directory) -> dict[str, np.ndarray]:
    return view_caches.every_array(GlimpseMapCache, directory, NAMES)


@pytest.fixture
def rgb_source(place):
    with open_person_clips(place / "clips") as clips, PoseCache(place / "poses") as poses:
        yield RGBClipSource(clips, poses, LABELS, VIEWS, layout=KINECT_V2)


def assert_backbone_of(batch, clips):
    """The batch of maps is what the backbone makes of the batch of clips, with the same joints."""
    outputs = tiny_backbone(BACKBONE)(clips["clip"])
    np.testing.assert_allclose(batch["map"], outputs["map"], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(batch["context"], np.asarray(outputs["pose_map"]).mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch["joints"], clips["joints"])


def test_the_first_views_are_those_of_a_test_on_clips(whole, rgb_source):
    with GlimpseMapCache(whole) as cache:
        assert (cache.map_shape, cache.context_shape, cache.joints_shape) == ((2, 2, 2, 5), (2, 6), (2, 2, 25, 2))
        batch, labels = GlimpseMapSource(cache, LABELS, VIEWS, layout=KINECT_V2).test_batch(list(LENGTHS))
    clips, expected = rgb_source.test_batch(list(LENGTHS))
    np.testing.assert_array_equal(labels, expected)
    assert_backbone_of(batch, clips)
    assert np.isfinite(batch["joints"]).any() and np.isnan(batch["joints"]).any()
    assert verify_cache(whole).ok


def test_the_others_are_each_clips_own(whole, rgb_source):
    with GlimpseMapCache(whole) as cache:
        source = GlimpseMapSource(cache, LABELS, VIEWS, layout=KINECT_V2)
        for clip in LENGTHS:
            batch, _ = source.training_batch([clip] * 3, np.array([[0.0], [0.5], [0.99]]))
            assert_backbone_of(batch, rgb_source.training_batch([clip] * 3, training_uniforms(VIEWS, clip, 3))[0])
            assert len({array.tobytes() for array in batch["map"]}) == 3


def test_a_second_run_skips_and_shares_add_up(whole, place, tmp_path):
    report = extract(place, whole)
    assert (report.done, report.skipped) == (0, 3)
    for part in range(2):
        extract(place, tmp_path, share=(part, 2))
    assert_equal(every_array(whole), every_array(tmp_path))


def test_folders_of_images_give_the_same_maps(whole, place, tmp_path):
    extract(place, tmp_path, clips="folders")
    assert_equal(every_array(whole), every_array(tmp_path))
    assert extract(place, whole, clips="folders").skipped == 3  # the same images: the same cache


def test_a_clip_with_a_damaged_image_is_left_out_and_can_be_retried(whole, place, tmp_path):
    shutil.copytree(place / "folders", tmp_path / "folders")
    for image in (tmp_path / "folders" / clip_name(2)).iterdir():
        image.write_bytes(b"junk")

    def extract_damaged(**options):
        return extract_glimpse_maps(
            tmp_path / "folders", place / "poses", tmp_path / "maps", **OPTIONS | {"batch_size": 4} | options
        )

    report = extract_damaged()
    assert (report.done, [entry.clip_id for entry in report.left_out]) == (2, [clip_name(2)])
    assert report.left_out[0].stage == "glimpse_maps" and "does not decode" in report.left_out[0].reason
    shutil.copytree(place / "folders" / clip_name(2), tmp_path / "folders" / clip_name(2), dirs_exist_ok=True)
    assert extract_damaged(retry_left_out=True).left_out == ()
    assert_equal(every_array(whole), every_array(tmp_path / "maps"))


KILLED = """
import sys
from pathlib import Path
from keras_actrec.extraction import glimpse_maps
from tests.extraction.test_glimpse_maps import extract, tiny_backbone
from tests.extraction.view_caches import pause_in_shard_1
pause_in_shard_1()
glimpse_maps.build_inflated_resnet = tiny_backbone
extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, place, tmp_path):
    check_kill(KILLED, place, tmp_path, extract)
    assert_equal(every_array(whole), every_array(tmp_path))


class TinyJob(GlimpseMapJob):
    """The job with the small backbone, in worker processes too."""

    def build(self, weights):
        return tiny_backbone(replace(self.backbone, seed=99), weights=weights)  # other values, unless weights come along


def test_worker_processes_compute_the_same(whole, place, tmp_path, monkeypatch):
    monkeypatch.setattr(glimpse_maps, "GlimpseMapJob", TinyJob)
    extract(place, tmp_path, workers=2)
    assert_close(every_array(whole), every_array(tmp_path))


# Options ------------------------------------------------------------------------------------------------------------


def test_the_options_are_what_a_reader_can_expect(whole, place):
    with open_person_clips(place / "clips") as clips, PoseCache(place / "poses") as poses:
        checksum = weights_checksum(tiny_backbone(BACKBONE))
        expected = glimpse_map_options(clips.options, poses.options, BACKBONE, VIEWS, 3, checksum)
    GlimpseMapCache(whole, expected).close()
    assert (expected.dataset, expected.layout) == ("ntu_rgbd", "kinect_v2")
    assert {"weights", "inflation", "seed"}.isdisjoint(expected.options["backbone"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"views": replace(VIEWS, views=3)}, "views.views: found 2, expected 3"),
        ({"views": replace(VIEWS, seed=4)}, "views.seed: found 3, expected 4"),
        ({"training_views": 4}, "views.training: found 3, expected 4"),
        ({"backbone": replace(BACKBONE, seed=1)}, "weights_checksum: found"),
    ],
)
def test_a_cache_made_with_other_options_is_refused(whole, place, changes, words):
    with pytest.raises(CacheError, match="made with other options") as error:
        extract(place, whole, **changes)
    assert words in str(error.value)


def test_poses_of_other_clips(place, tmp_path):
    write_clip(tmp_path / "ntu", 1, length=20)
    extract_poses(NTURGBD(tmp_path / "ntu"), tmp_path / "poses")
    with pytest.raises(CacheError, match=rf"{clip_name(1)}: the pose cache does not fit .*found 20 frames, expected 9 frames"):
        extract_glimpse_maps(place / "clips", tmp_path / "poses", tmp_path / "maps", **OPTIONS)
    shutil.rmtree(tmp_path / "poses")
    for action in (2, 3):
        shutil.copy(place / "ntu" / f"{clip_name(action)}.skeleton", tmp_path / "ntu")
    (tmp_path / "ntu" / f"{clip_name(1)}.skeleton").unlink()
    extract_poses(NTURGBD(tmp_path / "ntu", modality="skeleton"), tmp_path / "poses")
    with pytest.raises(CacheError, match=rf"{clip_name(1)}: the pose cache does not fit .*found no such clip"):
        extract_glimpse_maps(place / "clips", tmp_path / "poses", tmp_path / "maps", **OPTIONS)
    assert not (tmp_path / "maps").exists()


def test_values_beyond_float16(place, tmp_path, monkeypatch):
    monkeypatch.setattr(glimpse_maps, "build_inflated_resnet", enlarged(tiny_backbone, 1e4))
    with pytest.raises(WeightsError, match="not finite or exceed float16"):
        extract(place, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, r"batch_size must be positive"),
        ({"training_views": 0}, r"training_views must be positive"),
        ({"views": replace(VIEWS, frames=8)}, r"found views of 8 frames of 32 pixels, expected 2 frames of 32 pixels"),
    ],
)
def test_settings_that_make_no_sense(place, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        extract(place, tmp_path / "maps", **changes)
    assert not (tmp_path / "maps").exists()


def test_stored_images_that_are_too_small(place, tmp_path):
    larger = {"backbone": replace(BACKBONE, image_size=64), "views": replace(VIEWS, image_size=64)}
    with pytest.raises(CacheError, match=r"smaller than the crops \(found 36, expected at least 64"):
        extract(place, tmp_path / "maps", **larger)


# The whole ResNet ---------------------------------------------------------------------------------------------------


def test_the_script_runs_the_inflated_resnet(place, tmp_path):
    script = REPOSITORY / "preprocessing" / "extract_glimpse_maps.py"
    arguments = ("--clips", place / "clips", "--poses", place / "poses", "--cache", tmp_path, "--backbone-weights", "random")
    views = ("--frames", FRAMES, "--image-size", SIZE, "--views", 1, "--training-views", 1, "--seed", 3)
    done = run(script, *arguments, *views, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}: 3 clips written")
    with GlimpseMapCache(tmp_path) as cache:
        assert (cache.map_shape, cache.context_shape) == ((2, 1, 1, 2048), (2, 1024))
        assert cache.options.options["backbone"] == {
            "frames": FRAMES, "image_size": SIZE, "structure": "keras", "dtype": "float32",
        }  # fmt: skip
    assert verify_cache(tmp_path).ok
