"""Batches of whole frames or cached cubes with the first person's joints: which frames, mirrored or not, where joints are."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.cache.frame_cubes import FrameCubeCache, FrameCubeShardWriter
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import FRAME_CUBES, CacheOptions, plan_cache
from keras_actrec.cache.writer import PoseShardWriter
from keras_actrec.errors import CacheError, ConfigError, DatasetError
from keras_actrec.pipelines.frame_clips import FrameClipConfig, FrameClipSource, FrameCubeSource
from keras_actrec.pipelines.tf_data import epoch_rows, evaluation_dataset, training_dataset
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.video.frame_clips import test_views

SIZE = (4, 6)
CONFIG = FrameClipConfig(frames=3, picture_size=SIZE, views=2, seed=4)
LENGTHS = {"c1": 20, "c2": 2, "c3": 11, "c4": 9}
LABELS = {"c3": 7, "c9": 1, "c1": 5, "c2": 0}
CUBE, POOLED = (3, 1, 2, 5), 6
TRAINING_VIEWS = 4
LEFT, RIGHT = KINECT_V2.hands


class Pictures:
    """Pictures in memory, of videos of 120x60: red tells the column, green the row, blue the clip and the frame."""

    picture_size, channels, stream = SIZE, 3, "rgb"

    def __init__(self, lengths: dict[str, int]):
        self.lengths = lengths

    def source_size(self, clip_id):
        return (120, 60)

    def pictures(self, clip_id, frames):
        pictures = np.empty((len(frames), *SIZE, 3), np.uint8)
        pictures[..., 1], pictures[..., 0] = np.mgrid[: SIZE[0], : SIZE[1]]
        pictures[..., 2] = 40 * int(clip_id[1:]) + np.asarray(frames)[:, None, None]
        return pictures

    def mirrored(self, pictures):
        return pictures[..., ::-1, :]


def pixels_of(length: int) -> np.ndarray:
    """Joint j of person 1 in frame t is at (4 j, t) in a video of 120x60; person 2 is elsewhere."""
    pixels = np.full((length, 2, 25, 2), 55, np.float32)
    pixels[:, 0, :, 0] = 4 * np.arange(25)
    pixels[:, 0, :, 1] = np.arange(length)[:, None]
    return pixels


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poses")
    index = plan_cache(folder, CacheOptions("poses", "test", "kinect_v2", {}), LENGTHS)
    with PoseShardWriter(folder, index, 0) as writer:
        for clip in index.shards[0]:
            length = LENGTHS[clip]
            writer.add(
                clip, joints=np.zeros((length, 2, 25, 3)), pixels=pixels_of(length),
                test_frames=np.zeros((1, 1), int), test_tensors=np.zeros((1, 1, 3, 3)), cleaning={},
            )  # fmt: skip
        writer.finish()
    return PoseCache(folder)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Values that hold the clip's number and the view."""
    folder = tmp_path_factory.mktemp("cubes")
    views = {"frames": 3, "views": 2, "mirror": True, "seed": 4, "training": TRAINING_VIEWS}
    options = {"views": views, "picture_size": SIZE, "poses": None}
    index = plan_cache(folder, CacheOptions(FRAME_CUBES, "test", "kinect_v2", options), LENGTHS)
    with FrameCubeShardWriter(folder, index, 0, cube_shape=CUBE, pooled=POOLED, joints=25) as writer:
        for clip in index.shards[0]:
            value = int(clip[1:]) + np.arange(6) / 8
            arrays = (value.reshape(6, *[1] * len(shape)) * np.ones(shape) for shape in (CUBE, (3, POOLED), (3, 25, 2)))
            writer.add(clip, *arrays, LENGTHS[clip])
        writer.finish()
    return FrameCubeCache(folder)


@pytest.fixture
def clip_source(poses):
    return FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture
def cube_source(cubes):
    return FrameCubeSource(cubes, LABELS, CONFIG, layout=KINECT_V2)


@pytest.fixture(params=["clip", "cube"])
def source(request):
    return request.getfixturevalue(f"{request.param}_source")


def shown(clip: np.ndarray, number: int) -> tuple[list[int], bool]:
    """(frames, mirrored) of a row (T, H, W, 3)."""
    values = np.rint((clip + 1) * 127.5).astype(int)
    np.testing.assert_allclose((clip + 1) * 127.5, values, atol=1e-4)
    columns = values[:, 0, :, 0].tolist()
    assert columns in ([[0, 1, 2, 3, 4, 5]] * 3, [[5, 4, 3, 2, 1, 0]] * 3)
    return (values[:, 0, 0, 2] - 40 * number).tolist(), columns[0][0] == 5


def joints_at(frames: list[int]) -> np.ndarray:
    joints = np.empty((len(frames), 25, 2))
    joints[..., 0] = 4 * np.arange(25) / 120 * 2 - 1
    joints[..., 1] = (np.array(frames) / 60 * 2 - 1)[:, None]
    return joints


# What a row holds ------------------------------------------------------------------------------------------------------------


def test_clips_and_shapes(clip_source, cube_source):
    for source in (clip_source, cube_source):
        assert source.clip_ids == ("c3", "c1", "c2")
        assert (source.test_rows, source.label("c1")) == (2, 5)
    assert (clip_source.draws, cube_source.draws) == (2, 1)
    assert clip_source.inputs == ("clip", "joints") and cube_source.inputs == ("cube", "pooled", "joints")
    assert clip_source.shapes == {"clip": (3, *SIZE, 3), "joints": (3, 25, 2)}
    assert cube_source.shapes == {"cube": CUBE, "pooled": (3, POOLED), "joints": (3, 25, 2)}


def test_a_training_row_by_hand(clip_source):
    # c1 has 20 frames: floor((i + 0.5) · 20 / 3) = 3, 10, 16; c2 has 2: floor((i + 0.99) · 2 / 3) = 0, 1, 1.
    batch, labels = clip_source.training_batch(["c1", "c2"], np.array([[0.5, 0.49], [0.99, 0.5]]))
    assert labels.tolist() == [5, 0] and labels.dtype == np.int32
    assert batch["clip"].dtype == batch["joints"].dtype == np.float32
    assert batch["clip"].min() >= -1
    assert shown(batch["clip"][0], 1) == ([3, 10, 16], False) and shown(batch["clip"][1], 2) == ([0, 1, 1], True)
    np.testing.assert_allclose(batch["joints"][0], joints_at([3, 10, 16]), atol=1e-6)
    mirrored = joints_at([0, 1, 1]) * [-1, 1]
    np.testing.assert_allclose(batch["joints"][1, :, LEFT], mirrored[:, RIGHT], atol=1e-6)
    np.testing.assert_allclose(batch["joints"][1, :, 0], mirrored[:, 0], atol=1e-6)


def test_test_rows_are_the_same_views_for_all_clips(clip_source):
    batch, labels = clip_source.test_batch(["c1", "c3"])
    assert labels.tolist() == [5, 5, 7, 7]
    # c1: floor((i + 0.25) · 20 / 3), floor((i + 0.75) · 20 / 3); c3 with 11.
    frames = [[1, 8, 15], [5, 11, 18], [0, 4, 8], [2, 6, 10]]
    assert [shown(row, n) for row, n in zip(batch["clip"], (1, 1, 3, 3), strict=True)] == [(row, False) for row in frames]
    np.testing.assert_allclose(batch["joints"], [joints_at(row) for row in frames], atol=1e-6)
    expected, _ = clip_source.training_batch(["c1", "c1"], test_views(CONFIG))
    np.testing.assert_array_equal(batch["clip"][:2], expected["clip"])


def test_joints_of_another_size(poses):
    source = FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=KINECT_V2, pixel_size=(240, 30))
    joints = source.training_batch(["c1"], np.array([[0.5, 0.0]]))[0]["joints"]
    np.testing.assert_allclose(joints[0, :, 10], [[40 / 120 - 1, frame / 15 - 1] for frame in (3, 10, 16)], atol=1e-6)


def test_without_poses_all_joints_are_unknown():
    source = FrameClipSource(Pictures(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    assert source.clip_ids == ("c3", "c1", "c2")
    batch, _ = source.test_batch(["c1"])
    assert batch["joints"].shape == (2, 3, 25, 2) and batch["joints"].dtype == np.float32 and np.isnan(batch["joints"]).all()
    assert shown(batch["clip"][0], 1) == ([1, 8, 15], False)


def test_only_lengths_of_labelled_clips_are_asked_for(poses):
    class Lengths(dict):
        def __getitem__(self, clip):
            assert clip != "c4"
            return super().__getitem__(clip)

    for given in (poses, None):
        source = FrameClipSource(Pictures(Lengths(LENGTHS)), given, LABELS, CONFIG, layout=KINECT_V2)
        assert source.clip_ids == ("c3", "c1", "c2")


def test_the_number_chooses_one_of_the_training_views(cube_source):
    batch, labels = cube_source.training_batch(["c1", "c2", "c3", "c1"], np.array([[0.0], [0.24], [0.25], [0.999]]))
    assert labels.tolist() == [5, 0, 7, 5]
    values = np.array([1 + 2 / 8, 2 + 2 / 8, 3 + 3 / 8, 1 + 5 / 8])  # views 2 to 5, behind those of the tests
    for name, array in batch.items():
        assert array.dtype == np.float32 and array.shape == (4, *cube_source.shapes[name])
        np.testing.assert_array_equal(array, values.reshape(-1, *[1] * (array.ndim - 1)) * np.ones_like(array))


def test_test_rows_of_cubes_are_the_first_views(cube_source):
    batch, labels = cube_source.test_batch(["c3", "c1"])
    assert labels.tolist() == [7, 7, 5, 5]
    assert batch["cube"][:, 0, 0, 0, 0].tolist() == batch["joints"][:, 0, 0, 0].tolist() == [3, 3.125, 1, 1.125]


def test_only_what_is_selected_is_read(clip_source, cube_source, monkeypatch):
    draws = np.random.default_rng(0).random((2, 2))
    whole, _ = clip_source.training_batch(["c1", "c3"], draws)
    monkeypatch.setattr(Pictures, "pictures", None)
    joints = clip_source.select(["joints"])
    np.testing.assert_array_equal(joints.training_batch(["c1", "c3"], draws)[0]["joints"], whole["joints"])
    monkeypatch.undo()
    monkeypatch.setattr(PoseCache, "pixels", None)
    clips = clip_source.select(["clip"])
    assert (clips.inputs, clips.draws, set(clips.shapes)) == (("clip",), 2, {"clip"})
    batch, _ = clips.training_batch(["c1", "c3"], draws)
    assert set(batch) == {"clip"} == set(clips.test_batch(["c1"])[0])
    np.testing.assert_array_equal(batch["clip"], whole["clip"])
    monkeypatch.setattr(FrameCubeCache, "pooled", None)
    assert set(cube_source.select(["cube", "joints"]).test_batch(["c1"])[0]) == {"cube", "joints"}
    with pytest.raises(ConfigError, match=r"found 'cube', .*FrameCubeSource"):
        clip_source.select(["cube"])
    with pytest.raises(ConfigError, match=r"found 'clip', .*FrameClipSource"):
        cube_source.select(["clip"])


# Through tf.data ------------------------------------------------------------------------------------------------------------


def test_training_batches_are_reproducible(source):
    def epochs(**options):
        dataset = training_dataset(source, source.clip_ids, batch_size=2, seed=3, epochs=2, **options)
        return [({name: array.numpy() for name, array in inputs.items()}, labels.numpy()) for inputs, labels in dataset]

    batches = epochs()
    assert len(batches) == 4 and set(batches[0][0]) == set(source.inputs)
    for number, (inputs, labels) in enumerate(batches):
        rows, draws = epoch_rows(3, 2, 3, *divmod(number, 2), source.draws)
        expected, wanted = source.training_batch([source.clip_ids[row] for row in rows], draws)
        np.testing.assert_array_equal(labels, wanted)
        for name in source.inputs:
            assert inputs[name].shape[1:] == source.shapes[name]
            np.testing.assert_array_equal(inputs[name], expected[name])
    for (resumed, _), (whole, _) in zip(epochs(first_epoch=1), batches[2:], strict=True):
        for name in source.inputs:
            np.testing.assert_array_equal(resumed[name], whole[name])


def test_evaluation_batches_hold_every_view_once(source):
    inputs, labels, weights = zip(*evaluation_dataset(source, source.clip_ids, clips_per_batch=2), strict=True)
    assert np.concatenate(labels).tolist() == [7, 7, 5, 5, 0, 0, 0, 0]
    assert np.count_nonzero(np.concatenate(weights)) == 6
    expected, _ = source.test_batch(source.clip_ids)
    for name in source.inputs:
        np.testing.assert_array_equal(np.concatenate([batch[name] for batch in inputs])[:6], expected[name])


# Errors ------------------------------------------------------------------------------------------------------------


def test_unknown_clips_labels_and_numbers(source):
    with pytest.raises(DatasetError, match="clip c4 has no label"):
        source.test_batch(["c4"])
    with pytest.raises(CacheError, match="clip c9"):
        source.training_batch(["c9"], np.zeros((1, source.draws)))
    with pytest.raises(ConfigError, match=r"random numbers per clip \(found \(1, 7\)"):
        source.training_batch(["c1"], np.zeros((1, 7)))


def test_a_clip_without_pictures():
    source = FrameClipSource(Pictures(LENGTHS), None, LABELS, CONFIG, layout=KINECT_V2)
    for inputs in (["clip"], ["joints"]):
        with pytest.raises(CacheError, match="the cache of pictures does not hold clip c9"):
            source.select(inputs).test_batch(["c9"])


def test_caches_that_do_not_fit(poses, cubes):
    with pytest.raises(CacheError, match=r"other options: layout \(found kinect_v2, expected sbu_15\)"):
        FrameClipSource(Pictures(LENGTHS), poses, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"frame cubes was made .*: layout \(found kinect_v2, expected sbu_15\)"):
        FrameCubeSource(cubes, LABELS, CONFIG, layout=SBU_15)
    with pytest.raises(CacheError, match=r"cache of pictures disagree .* clip c2 \(found 8 frames .* 2 frames with poses"):
        FrameClipSource(Pictures(LENGTHS | {"c2": 8}), poses, LABELS, CONFIG, layout=KINECT_V2)
    with pytest.raises(ConfigError, match=r"another size than the clips \(found pictures \(4, 6\), expected .*\(240, 320\)"):
        FrameClipSource(Pictures(LENGTHS), poses, LABELS, FrameClipConfig(), layout=KINECT_V2)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("frames", 8, "3"), ("picture_size", (4, 8), r"\(4, 6\)"), ("views", 1, "2"), ("mirror", False, "True"), ("seed", 5, "4")],
)
def test_cubes_of_other_views_are_refused(cubes, name, value, found):
    config = FrameClipConfig(**{"frames": 3, "picture_size": SIZE, "views": 2, "seed": 4, name: value})
    with pytest.raises(CacheError, match=rf"frame cubes was made .*: {name} \(found {found}, expected"):
        FrameCubeSource(cubes, LABELS, config, layout=KINECT_V2)
