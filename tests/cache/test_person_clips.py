"""Reading person clips from shards, from folders, and from folders that other tools made."""

from __future__ import annotations

import pickle
from multiprocessing import get_context

import cv2
import h5py
import numpy as np
import pytest

from keras_actrec.cache.person_clip_writer import STORAGES
from keras_actrec.cache.person_clips import PersonClipCache, PersonClipFolder, open_person_clips
from keras_actrec.cache.schema import CacheOptions
from keras_actrec.errors import CacheError, ConfigError
from tests.cache.small import feature_cache
from tests.cache.small_person_clips import BROKEN, LENGTHS, SIZE, boxes, color, options, person_cache


@pytest.fixture(params=STORAGES)
def place(request, tmp_path):
    person_cache(tmp_path, request.param)
    return tmp_path


def assert_colors(images, clip_id, frames):
    assert images.shape == (len(frames), SIZE, SIZE, 3) and images.dtype == np.uint8
    expected = np.array([color(clip_id, frame) for frame in frames]).reshape(-1, 1, 1, 3)
    np.testing.assert_allclose(images.astype(int), np.broadcast_to(expected, images.shape), atol=3)


def test_what_is_there(place):
    with open_person_clips(place) as clips:
        storage = clips.options.options["storage"]
        assert type(clips) is {"hdf5": PersonClipCache, "jpeg": PersonClipFolder}[storage]
        assert dict(clips.lengths) == {clip: length for clip, length in LENGTHS.items() if clip != "d"}
        assert clips.clip_ids == ("a", "b", "c", "e")
        assert clips.left_out == (BROKEN,)
        assert (clips.image_size, clips.options) == (SIZE, options(storage))


@pytest.mark.parametrize("frames", [[0], [8], [0, 1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 4, 7], [7, 2, 2, 3, 7, 0], []])
def test_images_of_chosen_frames(place, frames):
    with open_person_clips(place) as clips:
        assert_colors(clips.images("a", np.array(frames, np.int32)), "a", frames)
        assert_colors(clips.images("b", np.zeros(3, int)), "b", [0, 0, 0])


def test_boxes(place):
    with open_person_clips(place) as clips:
        for clip_id in clips.lengths:
            np.testing.assert_array_equal(clips.boxes(clip_id), boxes(clip_id))
            assert clips.boxes(clip_id).dtype == np.float32


def test_only_the_bytes_asked_for_are_read(tmp_path, monkeypatch):
    person_cache(tmp_path, "hdf5")
    read = []
    getitem = h5py.Dataset.__getitem__

    def counting(self, key, *rest):
        values = getitem(self, key, *rest)
        read.extend([values.nbytes] if self.name == "/jpegs" else [])
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    with h5py.File(tmp_path / "person_clips-00000.h5") as file:
        sizes = file["frame_bytes"][:, 1]
    with open_person_clips(tmp_path) as clips:
        clips.images("a", np.array([5, 2, 3, 5, 8]))
    assert read == [sizes[2:4].sum(), sizes[5], sizes[8]]


@pytest.mark.parametrize("frames", [[-1], [9], [0, 9]])
def test_frames_that_are_not_there(place, frames):
    with (
        open_person_clips(place) as clips,
        pytest.raises(CacheError, match=r"clip a: there is no such frame .*0\.\.8"),
    ):
        clips.images("a", np.array(frames))


@pytest.mark.parametrize("frames", [[0.0], [[0]], 0])
def test_frames_that_are_no_frames(place, frames):
    with open_person_clips(place) as clips, pytest.raises(CacheError, match=r"frames are integers \(m,\)"):
        clips.images("a", np.array(frames))


def test_clips_that_are_not_there(place):
    with open_person_clips(place) as clips:
        for read in (clips.boxes, lambda clip: clips.images(clip, np.array([0]))):
            with pytest.raises(CacheError, match=r"clip d: .*no such"):
                read("d")


def read_elsewhere(clips, results):
    results.put((clips.images("a", np.array([4])), clips.boxes("c")))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_travel_to_processes(place, method):
    with open_person_clips(place) as clips:
        here = clips.images("a", np.array([4]))
        context = get_context(method)
        results = context.SimpleQueue()
        process = context.Process(target=read_elsewhere, args=(clips, results))
        process.start()
        images, found = results.get()
        process.join()
        np.testing.assert_array_equal(images, here)
        np.testing.assert_array_equal(found, boxes("c"))
        again = pickle.loads(pickle.dumps(clips))
        np.testing.assert_array_equal(again.images("a", np.array([4])), here)


def test_other_options_are_refused(place):
    with open_person_clips(place) as clips:
        found = clips.options
    open_person_clips(place, found).close()
    other = CacheOptions(found.kind, "ntu", "kinect_v2", {**found.options, "margin": 0.3})
    with pytest.raises(CacheError, match=r"margin: found 0\.15, expected 0\.3"):
        open_person_clips(place, other)


def test_another_size_is_refused(place):
    open_person_clips(place, image_size=SIZE).close()
    with pytest.raises(CacheError, match=r"another size .found 32, expected 64"):
        open_person_clips(place, image_size=64)


def test_shards_that_are_missing(place):
    (place / "person_clips-00001.h5").unlink()
    with pytest.raises(CacheError, match=r"1 of 3 shards missing.*extract_person_clips\.py again"):
        open_person_clips(place)
    with open_person_clips(place, allow_incomplete=True) as clips:
        assert set(clips.lengths) == set("abe")


def test_a_reader_of_the_other_storage(tmp_path):
    for storage, wrong in (("hdf5", PersonClipFolder), ("jpeg", PersonClipCache)):
        person_cache(tmp_path / storage, storage)
        with pytest.raises(CacheError, match="Use open_person_clips"):
            wrong(tmp_path / storage)


def test_a_cache_of_another_kind(tmp_path):
    feature_cache(tmp_path)
    with pytest.raises(CacheError, match=r"another kind .found hand_features, expected person_clips"):
        open_person_clips(tmp_path)


def test_damaged_shards(tmp_path):
    person_cache(tmp_path, "hdf5")
    path = tmp_path / "person_clips-00000.h5"
    with h5py.File(path) as file:
        start = file["jpegs"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start + 100] ^= 1
    path.write_bytes(content)
    with open_person_clips(tmp_path) as clips, pytest.raises(CacheError, match="clip a: the shard does not read"):
        clips.images("a", np.array([0]))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), r"cannot be read .found No such file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "the image does not decode"),
        (lambda file: cv2.imwrite(str(file), np.zeros((8, 9, 3), np.uint8)), "another size .found 9x8, expected 32x32"),
    ],
)
def test_damaged_folders(tmp_path, damage, words):
    person_cache(tmp_path, "jpeg")
    damage(tmp_path / "a" / "000003.jpg")
    with open_person_clips(tmp_path) as clips:
        assert_colors(clips.images("a", np.array([2, 4])), "a", [2, 4])
        with pytest.raises(CacheError, match=rf"000003\.jpg: .*{words}"):
            clips.images("a", np.array([2, 3]))


# Folders of other tools -------------------------------------------------------------------------------------------------------


def paint(file, rgb, width=SIZE, height=SIZE):
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((height, width, 3), rgb[::-1], np.uint8))


@pytest.fixture
def own(tmp_path):
    """Clip x with frames by number, y of PNGs; an empty folder, a hidden one and a file beside them."""
    for frame in range(11):
        paint(tmp_path / "x" / f"img_{frame}.jpg", color("a", frame))
    for name in ("b", "a"):
        paint(tmp_path / "y" / f"{name}.PNG", color("b", "ab".index(name)))
    (tmp_path / "y" / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    paint(tmp_path / ".hidden" / "0.jpg", (1, 1, 1))
    (tmp_path / "list.csv").write_text("")
    return tmp_path


def test_own_folders(own):
    with open_person_clips(own) as clips:
        assert isinstance(clips, PersonClipFolder)
        assert dict(clips.lengths) == {"x": 11, "y": 2}
        assert [(entry.clip_id, entry.reason) for entry in clips.left_out] == [
            ("empty", "the folder has no .jpg or .png files")
        ]
        assert clips.image_size == SIZE
        assert clips.options == CacheOptions("person_clips", "", "", {"storage": "folders", "size": SIZE})
        # Numbers by value: 9 comes before 10.
        assert_colors(clips.images("x", np.array([10, 9, 0])), "a", [10, 9, 0])
        assert_colors(clips.images("y", np.array([0, 1])), "b", [0, 1])
        with pytest.raises(CacheError, match=r"clip x: folders without an index.*extract_person_clips\.py"):
            clips.boxes("x")
        with pytest.raises(CacheError, match="clip empty: there is no such person clip"):
            clips.images("empty", np.array([0]))
        (own / "x" / "img_10.jpg").unlink()
        with pytest.raises(CacheError, match=r"images are gone .found 10, expected 11"):
            clips.images("x", np.array([10]))


def test_own_images_of_other_sizes_need_a_size(own):
    paint(own / "x" / "img_3.jpg", color("a", 3), width=50, height=70)
    with (
        open_person_clips(own) as clips,
        pytest.raises(CacheError, match=r"img_3\.jpg: .*found 50x70, expected 32x32.*Give image"),
    ):
        clips.images("x", np.array([3]))
    with open_person_clips(own, image_size=SIZE) as clips:
        assert_colors(clips.images("x", np.array([3, 4])), "a", [3, 4])
    with open_person_clips(own, image_size=48) as clips:
        assert clips.images("x", np.array([3, 4])).shape == (2, 48, 48, 3)
        assert clips.options.options["size"] == 48
    for size in (0, -3):
        with pytest.raises(ConfigError, match=f"side of images must be positive .found {size}"):
            open_person_clips(own, image_size=size)


def test_own_images_that_are_stretched(tmp_path):
    # Left half black, right half white, twice as wide as high: still halves.
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 255
    (tmp_path / "x").mkdir()
    cv2.imwrite(str(tmp_path / "x" / "0.png"), image)
    for size in (10, 60):
        with open_person_clips(tmp_path, image_size=size) as clips:
            stretched = clips.images("x", np.array([0]))[0]
        assert not stretched[:, : size // 2 - 1].any() and (stretched[:, size // 2 + 1 :] == 255).all()


def test_own_folders_have_no_options_to_expect(own):
    with pytest.raises(CacheError, match="dataset: found '', expected 'ntu'"):
        open_person_clips(own, options("hdf5"))


@pytest.mark.parametrize("make", [lambda place: None, lambda place: (place / "x").mkdir(parents=True)])
def test_no_clips(tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(CacheError, match=r"no person clips here .*index\.json, or a folder of .*extract_person_clips"):
        open_person_clips(tmp_path / "none")
