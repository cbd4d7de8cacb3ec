"""What a JPEG says about itself without being decoded."""

from __future__ import annotations

_START, _END = b"\xff\xd8", b"\xff\xd9"
# Markers that stand alone, without a length: TEM and the restarts. They do not belong before the frame header, but are allowed.
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
# Frame headers (ITU-T T.81, table B.1): 0xC0 to 0xCF but for the tables DHT (C4) and DAC (CC) and the reserved JPG (C8).
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG from its frame header.

    Args:
        data: the whole file.

    Raises:
        ValueError: no JPEG, no frame header, or the end is missing.
    """
    if not data.startswith(_START):
        raise ValueError("does not begin as a JPEG")
    if not data.endswith(_END):
        raise ValueError("has no end marker: it is cut short")
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAME:
            height, width = int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
            return width, height
        place += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + int.from_bytes(data[place + 2 : place + 4])
    raise ValueError("has no frame header")
