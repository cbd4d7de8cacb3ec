"""Text on pictures: where its ink is, scripts beyond ASCII, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.visualize import text as module
from keras_actrec.visualize.text import PAPER, draw_label, draw_text, label_size, shortened, text_width


def ink(text: str, *, left=20, base=40, **options) -> np.ndarray:
    """Where a text on black is bright: bool (60, 400)."""
    picture = np.zeros((60, 400, 3), np.uint8)
    draw_text(picture, text, left, base, **options)
    return picture.max(axis=2) > 60


def test_letters_stand_on_the_line_and_begin_where_they_should():
    rows, columns = np.nonzero(ink("HEx"))
    assert 38 <= rows.max() <= 40 and 8 <= 40 - rows.min() <= 12, "capitals are three quarters of 13 pixels high"
    assert 20 <= columns.min() <= 22 and abs(columns.max() - 20 - text_width("HEx")) <= 4
    assert np.nonzero(ink("gy"))[0].max() >= 42, "below the line"


@pytest.mark.parametrize("text", ["Händewaschen", "махать рукой", "κύμα", "תנופה", "تلويح", "½ → €"])
def test_scripts_that_dejavu_sans_knows(text):
    assert ink(text).sum() > 60
    missing = ink("\U000e0123" * len(text))  # characters that no font has
    assert (ink(text) != missing).any()
    # Every character counts: a text without its last one looks different.
    assert (ink(text) != ink(text[:-1])).any()


def test_a_character_that_no_font_has_is_a_box_and_no_error(recwarn):
    assert ink("a\U0001fbe0b").sum() > ink("ab").sum() > 0
    assert not recwarn.list


def test_a_font_of_the_machine_takes_what_dejavu_lacks(monkeypatch, tmp_path):
    # A font that "has" a Chinese character: matplotlib's serif one stands for it.
    other = module._first_font().replace("DejaVuSans.ttf", "DejaVuSerif.ttf")
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    known = module._characters
    monkeypatch.setattr(module, "_further_fonts", lambda: (str(broken), other))
    monkeypatch.setattr(module, "_characters", lambda path: known(path) | ({0x624B} if path == other else set()))
    module._font_of.cache_clear()
    try:
        assert module._font_of("手") == other and module._font_of("a") == module._first_font()
        assert module._font_of("\U000e0123") == module._first_font(), "boxes for what none has"
    finally:
        module._font_of.cache_clear()


def test_further_fonts_are_files_of_regular_weight():
    fonts = module._further_fonts()
    assert any(path.endswith("DejaVuSans.ttf") for path in fonts)
    assert not any("Bold" in path for path in fonts)


def test_control_characters_and_empty_texts():
    assert text_width("") == 0 and not ink("").any()
    assert (ink("wa\nve\x00") == ink("wave")).all()
    assert text_width("  ") > 0


def test_larger_text_is_larger_and_colours_are_kept():
    assert text_width("wave", 26) == pytest.approx(2 * text_width("wave", 13), abs=4)
    picture = np.zeros((60, 200, 3), np.uint8)
    end = draw_text(picture, "HHH", 10, 40, colour=(0, 200, 100))
    assert end == 10 + text_width("HHH")
    assert picture[..., 0].max() == 0 and picture[..., 1].max() == 200 and picture[..., 2].max() == 100


@pytest.mark.parametrize(("left", "base"), [(-10, 40), (390, 40), (20, 3), (20, 63), (-500, 40), (20, 200)])
def test_what_lies_beyond_the_border_is_cut(left, base):
    whole = np.zeros((400, 1200, 3), np.uint8)
    draw_text(whole, "wave (gypsum)", left + 600, base + 100)
    cut = np.zeros((60, 400, 3), np.uint8)
    draw_text(cut, "wave (gypsum)", left, base)
    np.testing.assert_array_equal(cut, whole[100:160, 600:1000])


def test_long_texts_are_shortened_to_what_fits():
    long = "a class name of many, many words " * 5
    for width in (30, 100, 250):
        short = shortened(long, width)
        assert short.endswith("…") and long.startswith(short[:-1]) and text_width(short) <= width
        assert text_width(long[: len(short) + 1] + "…") > width, "nothing more would have fitted"
    assert shortened("wave", 100) == "wave"
    assert shortened(long, 0) == "…"


def test_a_label_stays_inside_of_the_picture():
    width, height = label_size("left 62 %")
    for left, top in ((-40, -40), (190, 90), (60, 40)):
        picture = np.full((100, 200, 3), 200, np.uint8)
        draw_label(picture, "left 62 %", left, top, edge=(10, 220, 250))
        rows, columns = np.nonzero((picture == PAPER).all(axis=2))
        assert rows.max() - rows.min() + 1 == height
        x = min(max(left, 0), 200 - width)
        assert (picture[rows.min() : rows.max() + 1, x : x + 3] == (10, 220, 250)).all()
        assert columns.max() == x + width - 1
        assert (picture.max(axis=2) > 225).sum() > 20, "its letters"
