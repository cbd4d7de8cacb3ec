"""The page of a report: its tables, its pictures, that it loads nothing, and how it looks in a browser."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.visualize.report_page import (
    FoldReport,
    class_rows,
    compared_streams,
    confusion_cells,
    duration,
    page_text,
    percent,
    value_text,
    wilson_interval,
    write_report_page,
)
from tests.visualize.browser import dom, needs_chromium, probe, screenshot
from tests.visualize.reports import CLIPS, attentive, of_model, report

ATTENTION = {
    "sta_hands": {"hands": (20, 4), "time": (20,)},
    "vpn": {"time": (8,), "places": (7, 7)},
    "glimpse_clouds": {"places": (12, 12), "workers": (3, 3)},
    "rpan": {"rgb__places": (9, 15), "rgb__joints": (13,)},
}


def pictures(text: str) -> list[np.ndarray]:
    """The PNGs inside of a page, BGRA."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED) for data in found]


# What is in it ----------------------------------------------------------------------------------------------------------------


def test_one_file_that_loads_nothing(tmp_path):
    path = write_report_page(report(9, attention=attentive("sta_hands", 9, **ATTENTION["sta_hands"])), tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link rel=.stylesheet|@import|url\(|https?://", text)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in text


def test_text_from_files_cannot_become_markup():
    evil = "<img src=x onerror=alert(1)>"
    one = report(3)
    text = page_text(replace(
        one, dataset=evil, class_names=(evil, "b", "c"), notes=(evil,), configuration={evil: evil}, command=evil,
    ))  # fmt: skip
    assert evil not in text and text.count("&lt;img src=x onerror=alert(1)&gt;") > 5
    assert "the file is &lt;empty&gt;" in text


def test_accuracies_of_all_clips_stand_beside_those_of_the_kept_ones():
    one = report(9)
    main = one.streams[-1]
    hits = int(main.matrix.trace())
    text = page_text(one)
    assert percent(hits / 45) in text and percent(hits / 46) in text and hits / 45 == main.accuracy
    assert "1 test clip was left out" in text
    unknown = page_text(replace(one, left_out_test=None, streams=tuple(replace(s, with_left_out=None) for s in one.streams)))
    assert "left_out.csv does not say" in unknown and percent(hits / 46) not in unknown


def test_classes_are_sorted_the_hardest_first():
    one = report(9)
    rows = class_rows(one)
    assert [row.accuracy[-1] for row in rows] == sorted(row.accuracy[-1] for row in rows)
    named = {row.name: row for row in rows}
    label = 1
    expected = [stream.matrix[label, label] / CLIPS for stream in one.streams]
    assert named["class number 1"].accuracy == tuple(expected) and named["class number 1"].accuracy[-1] == 0.6
    text = page_text(one)
    assert text.index(f"<th>{rows[0].name}</th>") < text.index(f"<th>{rows[-1].name}</th>")


def test_classes_without_test_clips_are_not_judged():
    one = report(4)
    empty = [replace(stream, matrix=np.pad(stream.matrix, (0, 1))) for stream in one.streams]
    padded = replace(one, class_names=(*one.class_names, "never seen"), streams=tuple(empty))
    assert len(class_rows(padded)) == 4
    assert "1 of 5 classes have no test clip" in page_text(padded)


def test_cells_hold_percent_of_their_row():
    cells = confusion_cells(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]]))
    assert cells[0][0].shown == "75" and cells[0][1].share == 0.25 and cells[0][2] is None
    assert cells[1] == [None] * 3 and cells[2][0].shown == "<1"
    text = page_text(report(9))
    assert 'title="class number 1 → class number 0: 2 of 5">40</td>' in text


@pytest.mark.parametrize(("classes", "size"), [(9, "large"), (21, "middle"), (60, "small")])
def test_the_size_of_the_cells_follows_the_classes(classes, size):
    text = page_text(report(classes))
    assert re.findall(r'class="zoom-(\w+)"[^>]*checked', text) == [size, size]
    assert text.count("<tr><th title=") == 2 * classes, "a row for each class and stream"


def test_pairs_come_with_their_clips():
    text = page_text(report(9))
    (row,) = re.findall(r"<tr><th>class number 1</th><td>class number 0</td>.*?</tr>", text, re.DOTALL)[:1]
    assert '<td class="n">2</td>' in row and "40.0 %" in row and "clip0005, clip0006" in row


def test_the_streams_are_compared_clip_by_clip():
    one = report(9)
    (compared,) = compared_streams(one)
    right = {name: [clip.predictions[name] == clip.label for clip in one.tested] for name in ("pose", "fused")}
    expected = [sum(f and p for f, p in zip(right["fused"], right["pose"], strict=True)),
                sum(f and not p for f, p in zip(right["fused"], right["pose"], strict=True))]  # fmt: skip
    assert [compared.both, compared.gained] == expected
    assert compared.both + compared.gained + compared.lost + compared.neither == len(one.tested)
    assert compared.both + compared.gained == sum(right["fused"])


def test_several_protocols():
    one = report(4)
    folds = (FoldReport("split1", "split1/report.html", 10, 0, {"pose": 0.5, "fused": 0.625}),
             FoldReport("split2", "", 10, 1, {"pose": 0.25, "fused": 0.5}))  # fmt: skip
    text = page_text(replace(one, folds=folds, streams=tuple(replace(s, spread=0.088) for s in one.streams)))
    assert '<a href="split1/report.html">split1</a>' in text and "62.5 %" in text and "mean over 2 protocols" in text
    assert "± 8.8" in text and "95 % interval" not in text


@pytest.mark.parametrize("model", ATTENTION)
@pytest.mark.parametrize("classes", [2, 30])
def test_attention_of_each_network(model, classes):
    attention = attentive(model, classes, **ATTENTION[model])
    text = page_text(of_model(model, classes, attention))
    assert "Attention by class" in text
    found = pictures(text)
    assert len(found) == classes and all(picture is not None and picture.shape[2] == 4 for picture in found)
    shapes = {"sta_hands": (4, 20), "vpn": (7, 7), "glimpse_clouds": (12, 12), "rpan": (9, 15)}
    assert {picture.shape[:2] for picture in found} == {shapes[model]}
    (maps,) = (values for name, values in attention.values.items() if name.endswith(("places", "hands")))
    first = maps[0].T if model == "sta_hands" else maps[0]
    assert np.argmax(found[0][..., 3]) == np.argmax(first), "the more of the colour the higher the value"
    assert text.count('class="spark"') == (classes if model in ("sta_hands", "vpn") else 0)


def test_without_attention_there_is_no_chapter_of_it():
    assert "Attention" not in page_text(report(3))


def test_curves_of_a_loss_that_is_no_number_are_drawn_as_far_as_they_go():
    one = report(3)
    (stage,) = one.curves
    broken = {**stage.columns, "val_loss": np.where(stage.columns["epoch"] > 3, np.nan, 1.0)}
    text = page_text(replace(one, curves=(replace(stage, columns=broken),)))
    assert "nan" not in text.lower().replace("tenancy", "") and text.count('class="curve"') == 2


def test_many_clips_are_left_to_the_file(monkeypatch):
    monkeypatch.setattr("keras_actrec.visualize.report_page.CLIPS_LISTED", 10)
    text = page_text(report(3))
    assert "All tested clips" not in text and "scores.npz holds the scores of all 15 test clips" in text


# Numbers ----------------------------------------------------------------------------------------------------------------------


def test_wilson_interval():
    low, high = wilson_interval(8, 10)  # Wilson's interval for 8 of 10 as textbooks give it: 0.490 to 0.943
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert wilson_interval(10, 10)[1] == 1 and wilson_interval(0, 0) == (0, 1)


def test_words():
    assert [duration(seconds) for seconds in (41.6, 322, 11220)] == ["42 s", "5 min 22 s", "3 h 7 min"]
    assert [percent(value) for value in (0.8333, None, float("nan"))] == ["83.3 %", "–", "–"]
    assert [value_text(value) for value in (None, True, 1e-4, [1, 2.5], "a")] == ["–", "yes", "0.0001", "1, 2.5", "a"]


# What is refused --------------------------------------------------------------------------------------------------------------


def test_names_that_do_not_fit(tmp_path):
    one = report(3)
    with pytest.raises(ConfigError, match=r"do not fit the matrix of stream pose \(found 2 names, expected \(3, 3\) matrix\)"):
        write_report_page(replace(one, class_names=("a", "b")), tmp_path / "report.html")
    with pytest.raises(ConfigError, match="at least one stream"):
        write_report_page(replace(one, streams=()), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


# In a browser -----------------------------------------------------------------------------------------------------------------


@needs_chromium
def test_in_chromium(tmp_path):
    one = report(21, attention=attentive("sta_hands", 21, **ATTENTION["sta_hands"]))
    page = write_report_page(one, tmp_path / "report.html")

    found = dom(page, tmp_path)
    assert "<h1>STA-Hands on a &lt;data&gt; set, cross_subject</h1>" in found
    assert found.count('<td class="ok') + found.count('<td class="ok"') >= 2 * 21 and found.count("<polyline") == 4 + 21

    seen = probe(page, tmp_path)
    assert seen.loaded == [] and seen.refused == []
    assert len(seen.images) == 21 and all(image == [True, 20, 4] for image in seen.images), "the pictures decode"
    assert len(seen.anchors) == 7 and all(leads for _, leads in seen.anchors)


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(tmp_path, width):
    page = write_report_page(report(60, attention=attentive("vpn", 60, **ATTENTION["vpn"])), tmp_path / "report.html")
    seen = probe(page, tmp_path, width=width)
    assert width - 100 < seen.right <= width, "tables scroll in themselves"
    picture = screenshot(page, tmp_path, width=width)
    assert picture.shape[1] == width and picture.std() > 5


@needs_chromium
def test_dark_where_the_reader_wants_it(tmp_path):
    page = write_report_page(report(3), tmp_path / "report.html")
    light, dark = (probe(page, tmp_path, *options).paper for options in ((), ("--force-dark-mode",)))
    assert light == "rgb(252, 252, 251)" and dark == "rgb(20, 23, 26)"
