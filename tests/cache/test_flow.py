"""The cache of optical flow: what goes in comes out, stacks read their own frames only, and damage is found."""

from __future__ import annotations

import pickle
import re

import h5py
import numpy as np
import pytest

from keras_actrec.cache.flow import FlowCache, FlowShardWriter, flow_cache_options, flow_stream
from keras_actrec.cache.schema import plan_cache
from keras_actrec.cache.verify import repair_cache, verify_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, ConfigError, DiskFullError
from keras_actrec.video.optical_flow import FlowConfig, flow_stacks, mirrored_stacks

SIZE = (32, 40)
CONFIG = FlowConfig(picture_size=SIZE, bound=15.0)
LENGTHS = {"a": 9, "b": 1, "c": 5, "d": 4, "e": 7}
BROKEN = LeftOut("d", "flow", "the stream breaks off", "d.avi")
FIRST = "flow-00000.h5"


def flow(clip_id):
    """Noise: it does not compress, so that bytes on the disk can be counted on."""
    return np.random.default_rng(ord(clip_id)).integers(0, 256, (LENGTHS[clip_id], *SIZE, 2), np.uint8)


def source_size(clip_id):
    return 100 + ord(clip_id), 80


def write_shard(directory, index, shard):
    """Writes one shard; clip d breaks after its frames and is left out."""
    with FlowShardWriter(directory, index, shard) as writer:
        for clip_id in index.shards[shard]:
            writer.begin_clip(clip_id, source_size(clip_id))
            for frame in flow(clip_id):
                writer.write(frame)
            if clip_id == BROKEN.clip_id:
                writer.discard_clip(BROKEN)
            else:
                writer.end_clip()
        return writer.finish()


def flow_cache(directory):
    """Clips a to e: shards (a, b), (c, d), (e); d is left out. Returns the index."""
    index = plan_cache(directory, flow_cache_options("jhmdb", CONFIG), LENGTHS, clips_per_shard=2)
    for shard in range(len(index.shards)):
        write_shard(directory, index, shard)
    return index


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    directory = tmp_path_factory.mktemp("flow")
    flow_cache(directory)
    with FlowCache(directory) as cache:
        yield cache


# Reading ----------------------------------------------------------------------------------------------------------------------


def test_what_the_cache_says(cache):
    assert dict(cache.lengths) == {"a": 9, "b": 1, "c": 5, "e": 7}
    assert cache.left_out == (BROKEN,)
    assert (cache.picture_size, cache.channels) == (SIZE, 10)
    assert [cache.source_size(clip) for clip in cache.clip_ids] == [(100 + ord(clip), 80) for clip in "abce"]
    assert cache.flow_config == CONFIG
    assert cache.stream == {"method": "dis", "picture_size": list(SIZE), "bound": 15.0, "preset": "medium"}


def test_flow_comes_out_as_it_went_in(cache):
    for clip in cache.clip_ids:
        found = cache.flow(clip)
        np.testing.assert_array_equal(found, flow(clip))
        assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(cache.flow("a", np.array([8, 0, 8])), flow("a")[[8, 0, 8]])


@pytest.mark.parametrize("clip", "abe")
def test_pictures_are_stacks(cache, clip):
    frames = np.random.default_rng(0).integers(0, LENGTHS[clip], 12)  # any order, repeats, some near the end
    found = cache.pictures(clip, frames)
    np.testing.assert_array_equal(found, flow_stacks(flow(clip), frames))
    assert found.shape == (12, *SIZE, 10) and found.flags.c_contiguous
    np.testing.assert_array_equal(cache.mirrored(found), mirrored_stacks(found))
    assert cache.pictures(clip, np.zeros(0, int)).shape == (0, *SIZE, 10)


def test_a_stack_reads_its_own_frames_only(tmp_path):
    flow_cache(tmp_path)
    with h5py.File(tmp_path / FIRST) as file:  # clip a comes first
        place = file["flow"].id.get_chunk_info(7).byte_offset
    content = bytearray((tmp_path / FIRST).read_bytes())
    content[place + 100] ^= 1
    (tmp_path / FIRST).write_bytes(content)
    with FlowCache(tmp_path) as cache:
        np.testing.assert_array_equal(cache.pictures("a", np.array([2])), flow_stacks(flow("a"), np.array([2])))
        with pytest.raises(CacheError, match=r"flow-00000\.h5, clip a, flow: the shard does not read"):
            cache.pictures("a", np.array([3]))  # frames 3 to 7


@pytest.mark.parametrize("frames", [[9], [-1]])
def test_frames_outside_of_the_clip(cache, frames):
    for read in (cache.pictures, cache.flow):
        with pytest.raises(CacheError, match=rf"flow-00000\.h5, clip a: there is no such frame .*found {frames[0]}, .*0\.\.8"):
            read("a", np.array(frames))


def test_frames_that_are_no_frames(cache):
    for frames in (np.zeros((2, 2), int), np.array([0.5])):
        with pytest.raises(CacheError, match="frames do not fit the clips"):
            cache.pictures("a", frames)


def test_clips_that_are_not_there(cache):
    for read in (cache.source_size, cache.flow, lambda clip: cache.pictures(clip, np.array([0]))):
        with pytest.raises(CacheError, match="clip d: the cache has no such clip"):
            read("d")


def test_a_reader_can_be_pickled(cache):
    with pickle.loads(pickle.dumps(cache)) as other:
        np.testing.assert_array_equal(other.pictures("c", np.array([1, 3])), cache.pictures("c", np.array([1, 3])))


# Options ----------------------------------------------------------------------------------------------------------------------


def test_the_preset_has_no_part_in_tvl1():
    one, other = (FlowConfig("tvl1", SIZE, preset=preset) for preset in ("fast", "medium"))
    assert flow_stream(one) == flow_stream(other) == {"method": "tvl1", "picture_size": list(SIZE), "bound": 20.0}
    assert flow_cache_options("jhmdb", one) == flow_cache_options("jhmdb", other)


def test_a_cache_of_tvl1_is_read_without_it(tmp_path):
    config = FlowConfig("tvl1", SIZE)
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", config, given_lengths=True), "b")
    write_shard(tmp_path, index, 0)
    with FlowCache(tmp_path) as cache:
        assert cache.flow_config == config and cache.options.options["frames"] == "given"
        assert cache.pictures("b", np.array([0])).shape == (1, *SIZE, 10)


def test_other_options_are_refused(cache):
    FlowCache(cache.directory, flow_cache_options("jhmdb", CONFIG)).close()
    other = flow_cache_options("jhmdb", FlowConfig(picture_size=SIZE, preset="fast"), given_lengths=True)
    with pytest.raises(
        CacheError, match=r"bound: found 15\.0, expected 20\.0; frames: .*preset: found 'medium', expected 'fast'"
    ):
        FlowCache(cache.directory, other)


def test_an_incomplete_cache_names_its_script(tmp_path):
    plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), "ab")
    with pytest.raises(CacheError, match=r"1 of 1 shards missing.*extract_flow\.py again"):
        FlowCache(tmp_path)


# Writing ----------------------------------------------------------------------------------------------------------------------


def test_shards(tmp_path):
    flow_cache(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"flow-0000{shard}.h5" for shard in range(3)), "index.json"]
    with h5py.File(tmp_path / FIRST) as file:
        assert all(file[name].fletcher32 for name in ("flow", "source_sizes", "offsets", "clip_ids", "lengths"))
        assert file["flow"].shape == (10, 2, *SIZE) and file["flow"].chunks == (1, 2, *SIZE)
        assert file["offsets"][()].tolist() == [0, 9]
    with h5py.File(tmp_path / "flow-00001.h5") as file:  # nothing of clip d is left
        assert len(file["flow"]) == LENGTHS["c"]


def test_still_videos_take_little_room(tmp_path):
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), "a")
    with FlowShardWriter(tmp_path, index, 0) as writer:
        writer.begin_clip("a", (40, 32))
        for _ in range(50):
            writer.write(np.full((*SIZE, 2), 128, np.uint8))
        writer.end_clip()
        writer.finish()
    with h5py.File(tmp_path / FIRST) as file:
        assert file["flow"].id.get_storage_size() < 0.05 * file["flow"].nbytes


@pytest.mark.parametrize("frame", [np.zeros((*SIZE, 2), np.float32), np.zeros((40, 32, 2), np.uint8)])
def test_frames_that_do_not_fit(tmp_path, frame):
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), "a")
    with (
        pytest.raises(ConfigError, match=r"clip a: a frame of flow does not fit the cache .*expected uint8 \(32, 40, 2\)"),
        FlowShardWriter(tmp_path, index, 0) as writer,
    ):
        writer.begin_clip("a", (40, 32))
        writer.write(frame)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_a_clip_without_frames(tmp_path):
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), "a")
    with pytest.raises(ConfigError, match=r"clip a: .*at least one frame"), FlowShardWriter(tmp_path, index, 0) as writer:
        writer.begin_clip("a", (40, 32))
        writer.end_clip()


def test_a_shard_of_clips_that_are_all_left_out(tmp_path):
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), "d")
    write_shard(tmp_path, index, 0)
    assert verify_cache(tmp_path).ok
    with FlowCache(tmp_path) as cache:
        assert not cache.lengths and cache.left_out == (BROKEN,)


def test_a_full_disk(tmp_path, full_disk):
    index = plan_cache(tmp_path, flow_cache_options("jhmdb", CONFIG), LENGTHS, clips_per_shard=2)
    write_shard(tmp_path, index, 0)
    with full_disk(15_000), pytest.raises(DiskFullError, match=r"flow-00001\.h5, .*no space left.*shards are kept"):
        write_shard(tmp_path, index, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FIRST, "index.json"]
    write_shard(tmp_path, index, 1)
    write_shard(tmp_path, index, 2)
    assert verify_cache(tmp_path).ok


# Verifying --------------------------------------------------------------------------------------------------------------------


def replaced(file, name, change):
    """Puts a changed copy of a dataset in its place."""
    values = file[name][()]
    del file[name]
    file.create_dataset(name, data=change(values))


@pytest.mark.parametrize(
    ("damage", "clip", "words"),
    [
        (
            lambda file: replaced(file, "flow", lambda flow: flow[:-1]),
            "",
            r"flow uint8 \(9, 2, 32, 40\), but .*\(10, 2, 32, 40\)",
        ),
        (lambda file: replaced(file, "flow", lambda flow: flow.astype(np.int16)), "", "flow int16"),
        (lambda file: replaced(file, "source_sizes", lambda sizes: sizes[1:]), "", r"sizes of the videos \(1, 2\).* 2 clips"),
        (lambda file: replaced(file, "source_sizes", lambda sizes: sizes * 0), "", "not positive"),
        (lambda file: replaced(file, "offsets", lambda rows: rows + np.arange(2)), "b", "starts at row 10 instead of 9"),
        (lambda file: file.__delitem__("source_sizes"), "", "does not read"),
    ],
)
def test_damaged_shards(tmp_path, damage, clip, words):
    flow_cache(tmp_path)
    assert verify_cache(tmp_path).ok
    with h5py.File(tmp_path / FIRST, "r+") as file:
        damage(file)
    (problem,) = verify_cache(tmp_path).problems
    assert (problem.shard, problem.clip) == (FIRST, clip)
    assert re.search(words, problem.what)


def test_a_flipped_bit_is_found_and_filled_again(tmp_path):
    index = flow_cache(tmp_path)
    with h5py.File(tmp_path / FIRST) as file:
        place = file["flow"].id.get_chunk_info(6).byte_offset
    content = bytearray((tmp_path / FIRST).read_bytes())
    content[place + 500] ^= 16
    (tmp_path / FIRST).write_bytes(content)
    report = verify_cache(tmp_path)
    (problem,) = report.problems
    assert (problem.shard, problem.clip) == (FIRST, "a")
    assert "the flow of frame 6 does not read" in problem.what
    repair_cache(report)
    assert index.missing(tmp_path) == [0]
    write_shard(tmp_path, index, 0)
    assert verify_cache(tmp_path).ok
