"""Text of any script on pictures: OpenCV's own letters are ASCII alone, matplotlib carries DejaVu Sans.

DejaVu Sans knows Latin, Greek, Cyrillic, Hebrew, Arabic and more. Characters that it lacks, such as Chinese ones, are drawn
with the first font of this machine that has them; where none has, with the box that fonts keep for such characters.
"""

from __future__ import annotations

import threading
import unicodedata
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

INK, PAPER, AXIS, NOW = (235, 235, 235), (28, 28, 28), (120, 120, 120), (60, 170, 250)  # BGR: text, ground, lines, this frame
SIZE, SMALL = 13, 12  # pixels of an em
_MORE = "…"
_LOCK = threading.Lock()  # a font holds the text that it draws


def text_width(text: str, size: int = SIZE) -> int:
    """Columns that a text takes."""
    return _ink(text, size)[0].shape[1]


def shortened(text: str, width: int, size: int = SIZE) -> str:
    """The text, or as much of its beginning as fits into so many columns, and an ellipsis."""
    if text_width(text, size) <= width:
        return text
    fits, beyond = 0, len(text)  # halving: class names may be as long as a file's
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        fits, beyond = (middle, beyond) if text_width(text[:middle].rstrip() + _MORE, size) <= width else (fits, middle)
    return text[:fits].rstrip() + _MORE


def draw_text(
    picture: np.ndarray,
    text: str,
    left: int,
    base: int,
    *,
    size: int = SIZE,
    colour: tuple[int, int, int] = INK,
) -> int:
    """Writes into the picture; what lies beyond its border is cut.

    Args:
        picture: BGR uint8 (H, W, 3), changed in place.
        text: one line; control characters are left out.
        left, base: where it begins, and the row that its letters stand on.
        size: pixels of an em; capitals are three quarters of it high.
        colour: BGR.

    Returns:
        The column behind its end.
    """
    ink, ascent = _ink(text, size)
    top, (rows, columns) = base - ascent, ink.shape
    y0, y1 = max(top, 0), min(top + rows, picture.shape[0])
    x0, x1 = max(left, 0), min(left + columns, picture.shape[1])
    if y0 < y1 and x0 < x1:
        share = ink[y0 - top : y1 - top, x0 - left : x1 - left, None]
        ground = picture[y0:y1, x0:x1]
        picture[y0:y1, x0:x1] = np.rint(ground * (1 - share) + np.float32(colour) * share).astype(np.uint8)
    return left + columns


def draw_label(
    picture: np.ndarray,
    text: str,
    left: int,
    top: int,
    *,
    size: int = SMALL,
    colour: tuple[int, int, int] = INK,
    edge: tuple[int, int, int] | None = None,
) -> None:
    """Writes on a dark ground, inside the picture even where the place is not; `label_size` says how large it is.

    Args:
        picture: BGR uint8 (H, W, 3), changed in place.
        text: one line.
        left, top: upper left corner of the ground.
        size: pixels of an em.
        colour: BGR of the text.
        edge: BGR of a bar at the left of the ground; None: no bar.
    """
    width, height = label_size(text, size)
    left = max(min(left, picture.shape[1] - width), 0)
    top = max(min(top, picture.shape[0] - height), 0)
    picture[top : top + height, left : left + width] = PAPER
    if edge is not None:
        picture[top : top + height, left : left + 3] = edge
    draw_text(picture, text, left + 6, top + height - size // 3, size=size, colour=colour)


def label_size(text: str, size: int = SMALL) -> tuple[int, int]:
    """(width, height) of a label in pixels."""
    return text_width(text, size) + 10, size + 5


@lru_cache(maxsize=2048)
def _ink(text: str, size: int) -> tuple[np.ndarray, int]:
    """How much of each pixel is ink, (rows, columns) in [0, 1], and the rows above the line that letters stand on."""
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cs"))
    runs = [(font, "".join(chars)) for font, chars in groupby(text, key=_font_of)]
    with _LOCK:
        drawn = [_run(font, chars, size) for font, chars in runs]
    ascent = max((above for _, above, _ in drawn), default=0)
    below = max((len(ink) - above for ink, above, _ in drawn), default=0)
    canvas = np.zeros((ascent + below, sum(advance for *_, advance in drawn)), np.float32)
    left = 0
    for ink, above, advance in drawn:
        columns = min(ink.shape[1], canvas.shape[1] - left)
        canvas[ascent - above : ascent - above + len(ink), left : left + columns] = ink[:, :columns]
        left += advance
    canvas.flags.writeable = False  # one array for all who ask
    return canvas, ascent


def _run(path: str, text: str, size: int) -> tuple[np.ndarray, int, int]:
    """Characters of one font: their ink, the rows above the line, the columns to the next run."""
    import warnings

    font = _font(path)
    font.clear()
    font.set_size(size, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that no font has: its box is drawn
        font.set_text(text, 0)
        font.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(font.get_image(), np.float32) / 255
    width = int(np.ceil(font.get_width_height()[0] / 64))
    below = int(np.ceil(font.get_descent() / 64)) + 1  # the bitmap has a row to spare
    return ink, max(len(ink) - below, 0), max(width, 1) if text.strip() else max(width, size // 3)


@lru_cache(maxsize=16)
def _font(path: str) -> FT2Font:
    from matplotlib.ft2font import FT2Font

    return FT2Font(path)


@lru_cache(maxsize=1)
def _first_font() -> str:
    from matplotlib import get_data_path

    return str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@lru_cache(maxsize=64)
def _characters(path: str) -> frozenset[int]:
    """Code points that a font has; none where the file does not read."""
    try:
        return frozenset(_font.__wrapped__(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=4096)
def _font_of(char: str) -> str:
    """The first font that has a character: DejaVu Sans, which also takes those that no font has, or one of the machine's."""
    first = _first_font()
    if char.isspace() or ord(char) in _characters(first):
        return first
    return next((path for path in _further_fonts() if ord(char) in _characters(path)), first)


@lru_cache(maxsize=1)
def _further_fonts() -> tuple[str, ...]:
    """Upright fonts of this machine of regular weight, those of most characters first as far as names tell."""
    from matplotlib.font_manager import fontManager

    upright = [entry for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in (400, "normal", "regular")]
    broad = ("CJK", "Noto Sans", "Unicode", "Unifont", "Fallback", "YaHei", "PingFang", "Gothic")
    upright.sort(key=lambda entry: not any(word in entry.name for word in broad))
    return tuple(dict.fromkeys(entry.fname for entry in upright))
