"""The timeline of a video: which window speaks for which frames, segments, and the files."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, DiskFullError
from keras_actrec.recipes.prediction.timeline import Segment, Timeline
from keras_actrec.recipes.prediction.windows import Window
from keras_actrec.visualize.timeline import timeline_png

NAMES = ("wave", "clap", "trinken, schnell", "走")


def timeline(starts, labels, *, length=30, rate=10.0, names=NAMES) -> Timeline:
    """Windows of `length` frames, each of which gives 0.7 to its class and the rest to the others."""
    shares = np.full((len(starts), len(names)), 0.3 / (len(names) - 1), np.float32)
    shares[np.arange(len(starts)), labels] = 0.7
    starts = np.array(starts)
    return Timeline(names, rate, starts, starts + length, shares)


def test_a_window_speaks_up_to_the_middle_between_it_and_the_next():
    np.testing.assert_array_equal(timeline([0, 15, 30], [0, 0, 0]).spans, [[0, 22], [22, 37], [37, 60]])
    np.testing.assert_array_equal(timeline([0, 30], [0, 0]).spans, [[0, 30], [30, 60]])
    np.testing.assert_array_equal(timeline([0, 40], [0, 0]).spans, [[0, 30], [40, 70]])  # frames that no window sees


def test_segments_are_neighbours_of_the_same_class():
    segments = timeline([0, 15, 30, 100, 115], [0, 0, 1, 1, 2]).segments()
    found = [(s.class_name, s.start, s.stop) for s in segments]
    assert found == [("wave", 0, 37), ("clap", 37, 60), ("clap", 100, 122), ("trinken, schnell", 122, 145)]
    assert segments[0] == Segment("wave", 0, 37, 0.0, 3.7, pytest.approx(0.7))


def test_the_probability_of_a_segment_is_the_mean_of_its_windows():
    shares = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], np.float32)
    found = Timeline(("a", "b"), 10.0, np.array([0, 10, 20]), np.array([20, 30, 40]), shares).segments()
    assert [segment.probability for segment in found] == pytest.approx([0.7, 0.8])


def test_of_windows():
    def answer(share):
        return SimpleNamespace(class_names=("a", "b"), probabilities=np.array([share, 1 - share], np.float32))

    found = Timeline.of(iter([Window(0, 20, 12.0, answer(0.25)), Window(10, 30, 12.0, answer(0.75))]))
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.75], [0.75, 0.25]])
    assert found.starts.tolist() == [0, 10] and found.stops.tolist() == [20, 30] and found.frame_rate == 12
    with pytest.raises(ConfigError, match="at least one window"):
        Timeline.of([])


def test_the_csv(tmp_path):
    path = timeline([0, 15], [2, 3]).write_csv(tmp_path / "new" / "timeline.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["start", "stop", "start_seconds", "stop_seconds", "class", "probability", *NAMES]
    assert [row["class"] for row in rows] == ["trinken, schnell", "走"]
    assert (rows[1]["start"], rows[1]["stop"], rows[1]["start_seconds"], rows[1]["stop_seconds"]) == (
        "15",
        "45",
        "1.500",
        "4.500",
    )
    assert rows[0]["probability"] == rows[0]["trinken, schnell"] == "0.700000" and rows[0]["wave"] == "0.100000"


def test_the_json(tmp_path):
    found = timeline([0, 15], [2, 3])
    content = json.loads(found.write_json(tmp_path / "timeline.json").read_text(encoding="utf-8"))
    assert content["class_names"] == list(NAMES) and content["frame_rate"] == 10
    assert [segment["class_name"] for segment in content["segments"]] == ["trinken, schnell", "走"]
    assert content["segments"][1]["stop_seconds"] == 4.5
    assert content["windows"][1] == {
        "start": 15, "stop": 45, "start_seconds": 1.5, "stop_seconds": 4.5, "probabilities": [0.1, 0.1, 0.1, 0.7],
    }  # fmt: skip


def test_a_full_disk_leaves_nothing(tmp_path, full_disk):
    found = timeline(list(range(0, 3000, 10)), [0] * 300)
    for write in (found.write_csv, found.write_json, lambda path: timeline_png(found, path)):
        with full_disk(1000), pytest.raises(DiskFullError, match="no space left"):
            write(tmp_path / "timeline.file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("starts", "stops", "shape"),
    [([0, 10], [20], (2, 2)), ([0, 10], [20, 30], (2, 3)), ([0, 10], [20, 30], (1, 2))],
)
def test_arrays_that_do_not_fit(starts, stops, shape):
    with pytest.raises(ConfigError, match="a start, a stop and probabilities for each of its windows"):
        Timeline(("a", "b"), 10.0, np.array(starts), np.array(stops), np.zeros(shape, np.float32))


def test_windows_out_of_order():
    with pytest.raises(ConfigError, match="in their order"):
        Timeline(("a",), 10.0, np.array([10, 0]), np.array([20, 10]), np.zeros((2, 1), np.float32))


def test_the_picture_shows_blocks_where_the_segments_are(tmp_path):
    # Two classes one behind the other, a second of nothing between them.
    path = timeline_png(timeline([0, 40], [0, 1], names=("wave", "clap")), tmp_path / "new" / "timeline.png", title="clip")
    picture = cv2.imread(str(path))
    assert picture.shape == (540, 1440, 3)
    blue, orange = (180, 119, 31), (14, 127, 255)  # BGR, the first two colours
    places = {}
    for name, colour in (("wave", blue), ("clap", orange)):
        _, columns = np.nonzero((picture[:180] == colour).all(axis=-1))
        assert len(columns) > 1000, f"a block of {name}"
        places[name] = (columns.min(), columns.max())
    assert places["wave"][1] + 100 < places["clap"][0]
    assert (picture[200:] == blue).all(axis=-1).any() and (picture[200:] == orange).all(axis=-1).any(), "and lines"


def test_a_long_video_with_many_classes(tmp_path):
    names = tuple(f"class {index}" for index in range(30))
    found = timeline(list(range(0, 6000, 50)), [index % 30 for index in range(120)], length=50, names=names)
    picture = cv2.imread(str(timeline_png(found, tmp_path / "timeline.png")))
    grey = (np.array([184, 184, 184]) == picture[:180]).all(axis=-1)
    assert grey.sum() > 1000, "classes without a colour of their own"
