"""Person clips → clip maps: those of a direct forward pass, left-out clips, resuming after a kill, other options refused."""

from __future__ import annotations

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone
from keras_actrec.cache.clip_maps import ClipMapCache, ClipMapShardWriter
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.verify import verify_cache
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.extraction.clip_maps import clip_map_options, extract_clip_maps
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, view_uniforms
from keras_actrec.video.view_images import resize_images, view_images
from tests.experiments.test_scripts import REPOSITORY, run
from tests.extraction.person_clips import FRAMES, LENGTHS, NETWORK, SIZE, write_person_clips
from tests.extraction.view_caches import kill_in_shard_1

BACKBONE = BackboneConfig(NETWORK, "random", FRAMES, SIZE)
SAMPLING = ClipSamplingConfig(frames=FRAMES, stride=2, views=3)
OPTIONS = {"backbone": BACKBONE, "sampling": SAMPLING, "clips_per_shard": 2, "progress": False}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_person_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """The cache of an uninterrupted run. Batches of 4 rows out of 3 views: they run across clips, the last is padded."""
    directory = tmp_path_factory.mktemp("maps")
    report = extract_clip_maps(clips, directory, batch_size=4, **OPTIONS)
    assert (report.done, report.skipped, report.left_out) == (len(LENGTHS), 0, ())
    return directory


def every_map(directory) -> dict[str, np.ndarray]:
    with ClipMapCache(directory) as cache:
        return {clip: cache.maps([clip] * cache.views, np.arange(cache.views)) for clip in cache.lengths}


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for clip in one:
        np.testing.assert_array_equal(one[clip], two[clip])


def direct(clips, backbone: BackboneConfig) -> dict[str, np.ndarray]:
    """Maps of a forward pass of each view by itself."""
    model = build_backbone(backbone)
    maps = {}
    with open_person_clips(clips) as reader:
        for clip, length in LENGTHS.items():
            frames = [clip_frames(length, uniform, SAMPLING) for uniform in view_uniforms(SAMPLING.views)]
            images = [resize_images(reader.images(clip, rows), backbone.image_size) for rows in frames]
            maps[clip] = np.stack([np.asarray(model(image[None].astype(np.float32) / 127.5 - 1))[0] for image in images])
    return maps


def test_maps_are_those_of_a_direct_forward_pass(whole, clips):
    cached = every_map(whole)
    assert cached.keys() == LENGTHS.keys()
    for clip, expected in direct(clips, BACKBONE).items():
        assert cached[clip].shape == (3, 2, 4, 4, 5)
        np.testing.assert_allclose(cached[clip], expected, rtol=1e-3, atol=1e-3)
    # The views of a long clip differ; a clip shorter than a view has one view three times.
    assert not np.array_equal(cached["e"][0], cached["e"][2])
    np.testing.assert_array_equal(cached["b"][0], cached["b"][2])
    assert verify_cache(whole).ok


def test_images_of_another_size_are_resized(clips, tmp_path):
    backbone = replace(BACKBONE, image_size=8)
    extract_clip_maps(clips, tmp_path, **OPTIONS | {"backbone": backbone})
    cached = every_map(tmp_path)
    for clip, expected in direct(clips, backbone).items():
        assert cached[clip].shape == (3, 2, 2, 2, 5)
        np.testing.assert_allclose(cached[clip], expected, rtol=1e-3, atol=1e-3)


def test_a_second_run_skips_and_shares_add_up(whole, clips, tmp_path):
    report = extract_clip_maps(clips, whole, **OPTIONS)
    assert (report.done, report.skipped) == (0, len(LENGTHS))
    for part in range(2):
        extract_clip_maps(clips, tmp_path, batch_size=4, share=(part, 2), **OPTIONS)
    assert_equal(every_map(whole), every_map(tmp_path))


def test_folders_of_images_give_the_same_maps(whole, clips, tmp_path):
    folders = write_person_clips(tmp_path / "clips", storage="jpeg")
    extract_clip_maps(folders, tmp_path / "maps", batch_size=4, **OPTIONS)
    assert_equal(every_map(whole), every_map(tmp_path / "maps"))
    assert extract_clip_maps(folders, whole, **OPTIONS).skipped == len(LENGTHS)  # the same images: the same cache


def test_worker_processes_compute_the_same(whole, clips, tmp_path):
    extract_clip_maps(clips, tmp_path, batch_size=4, workers=2, **OPTIONS)
    one, two = every_map(whole), every_map(tmp_path)
    assert one.keys() == two.keys()
    for clip in one:  # another number of threads may sum in another order: the last bit of float16
        np.testing.assert_allclose(one[clip], two[clip], rtol=2e-3, atol=1e-3)


def test_a_clip_with_a_damaged_image_is_left_out_and_can_be_retried(whole, tmp_path):
    folders = write_person_clips(tmp_path / "clips", storage="jpeg")
    image = folders / "c" / "000004.jpg"
    content = image.read_bytes()
    image.write_bytes(b"junk")
    report = extract_clip_maps(folders, tmp_path / "maps", batch_size=4, **OPTIONS)
    assert (report.done, [entry.clip_id for entry in report.left_out]) == (len(LENGTHS) - 1, ["c"])
    (entry,) = report.left_out
    assert entry.stage == "clip_maps" and entry.file == str(image) and "000004.jpg" in entry.reason
    expected = every_map(whole)
    assert_equal({clip: maps for clip, maps in expected.items() if clip != "c"}, every_map(tmp_path / "maps"))
    image.write_bytes(content)
    report = extract_clip_maps(folders, tmp_path / "maps", batch_size=4, retry_left_out=True, **OPTIONS)
    assert report.left_out == ()
    assert_equal(expected, every_map(tmp_path / "maps"))


KILLED = """
import sys
from keras_actrec.extraction.clip_maps import extract_clip_maps
from tests.extraction.test_clip_maps import OPTIONS
from tests.extraction.view_caches import pause_in_shard_1
pause_in_shard_1()
extract_clip_maps(sys.argv[1], sys.argv[2], batch_size=4, **OPTIONS)
"""


def test_a_kill_in_the_middle_of_a_shard_loses_that_shard_only(whole, clips, tmp_path):
    number = kill_in_shard_1(KILLED, clips, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock")
    assert names == ["clip_maps-00000.h5", f"clip_maps-00001.h5.{os.uname().nodename}.{number}.part", "index.json"]
    report = extract_clip_maps(clips, tmp_path, batch_size=4, **OPTIONS)
    assert (report.done, report.skipped) == (3, 2)
    assert not list(tmp_path.glob("*.part"))
    assert_equal(every_map(whole), every_map(tmp_path))


def test_only_a_few_clips_are_in_memory(tmp_path, monkeypatch):
    lengths = {f"clip{number:02d}": 5 for number in range(24)}
    clips = write_person_clips(tmp_path / "clips", lengths)
    read, written, most = [], [], []

    def reading(read_images, frames, image_size):
        read.append(1)
        most.append(len(read) - len(written))
        return view_images(read_images, frames, image_size)

    add = ClipMapShardWriter.add

    def adding(self, clip_id, *arguments):
        written.append(clip_id)
        add(self, clip_id, *arguments)

    monkeypatch.setattr("keras_actrec.extraction.clip_maps.view_images", reading)
    monkeypatch.setattr(ClipMapShardWriter, "add", adding)
    extract_clip_maps(clips, tmp_path / "maps", batch_size=4, **OPTIONS | {"clips_per_shard": 24})
    assert written == list(lengths)
    # At most 4 are read ahead, one waits, and two batches of 4 rows (3 rows a clip) touch 4 clips.
    assert len(read) == 24 and max(most) <= 9


def test_the_options_are_what_a_reader_can_expect(whole, clips):
    with open_person_clips(clips) as reader:
        options = reader.options
    expected = clip_map_options(options, BACKBONE, SAMPLING, weights_checksum(build_backbone(BACKBONE)))
    ClipMapCache(whole, expected).close()
    assert (expected.dataset, expected.layout) == ("test", "kinect_v2")
    assert replace(SAMPLING, poses=7) != SAMPLING
    assert clip_map_options(options, BACKBONE, replace(SAMPLING, poses=7), expected.weights_checksum) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": replace(SAMPLING, views=2)}, "sampling.views: found 3, expected 2"),
        ({"sampling": replace(SAMPLING, stride=1)}, "sampling.stride: found 2, expected 1"),
        ({"backbone": replace(BACKBONE, image_size=8)}, "backbone.image_size: found 16, expected 8"),
        ({"backbone": replace(BACKBONE, dtype="bfloat16")}, "backbone.dtype: found 'float32', expected 'bfloat16'"),
        ({"backbone": replace(BACKBONE, seed=1)}, "weights_checksum: found"),
    ],
)
def test_a_cache_made_with_other_options_is_refused(whole, clips, changes, words):
    with pytest.raises(CacheError, match="made with other options") as error:
        extract_clip_maps(clips, whole, **OPTIONS | changes)
    assert words in str(error.value)


def test_a_cache_of_other_person_clips_is_refused(whole, tmp_path):
    with pytest.raises(CacheError, match=r"person_clips\.margin: found 0\.1, expected 0\.3"):
        extract_clip_maps(write_person_clips(tmp_path, margin=0.3), whole, **OPTIONS)


def test_values_beyond_float16(clips, tmp_path):
    model = build_backbone(BACKBONE)
    model.set_weights([array * 1e4 for array in model.get_weights()])
    model.save_weights(tmp_path / "large.weights.h5")
    backbone = replace(BACKBONE, weights=str(tmp_path / "large.weights.h5"))
    with pytest.raises(WeightsError, match="not finite or exceed float16"):
        extract_clip_maps(clips, tmp_path / "maps", **OPTIONS | {"backbone": backbone})
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["index.json"]


def test_settings_that_make_no_sense(clips, tmp_path):
    with pytest.raises(ConfigError, match="batch_size must be positive"):
        extract_clip_maps(clips, tmp_path / "maps", batch_size=0, **OPTIONS)
    sampling = replace(SAMPLING, frames=8)
    with pytest.raises(ConfigError, match=r"another number of frames .*found 8 frames of a view, expected 4, as the network"):
        extract_clip_maps(clips, tmp_path / "maps", **OPTIONS | {"sampling": sampling})
    with pytest.raises(CacheError, match="no person clips here"):
        extract_clip_maps(tmp_path / "none", tmp_path / "maps", **OPTIONS)
    assert not (tmp_path / "maps").exists()


def test_the_script_writes_the_same_cache(whole, clips, tmp_path):
    script = REPOSITORY / "preprocessing" / "extract_clip_maps.py"
    network = ("--backbone", NETWORK, "--backbone-weights", "random", "--frames", FRAMES, "--image-size", SIZE)
    arguments = ("--clips", clips, "--cache", tmp_path, *network, "--views", 3, "--batch-size", 4, "--clips-per-shard", 2)
    done = run(script, *arguments, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}: 5 clips written")
    assert_equal(every_map(whole), every_map(tmp_path))
    with h5py.File(whole / "clip_maps-00000.h5") as one, h5py.File(tmp_path / "clip_maps-00000.h5") as two:
        assert one.attrs["options"] == two.attrs["options"]
