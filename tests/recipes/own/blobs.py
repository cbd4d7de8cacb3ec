"""A list of tiny videos in which a stand-in for MediaPipe finds people, and settings that train on them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_actrec.video.write import write_video
from tests.pose_estimation.fake_mediapipe import draw

CLASSES = ("bob", "stroll")
FRAMES = 12
EMPTY, JUNK = "stroll_4", "bob_4"
"""A clip with nobody, and one that is no video."""


def write_videos(folder: Path, *, clips: int = 4, header: str = "video,label", splits: int = 0) -> Path:
    """mine.csv with `clips` videos of each class, a person who walks or goes up and down, and the two that cannot be used."""
    rows = [header]
    (folder / "videos").mkdir()
    for label in CLASSES:
        for number in range(clips + 1):
            name = f"{label}_{number}"
            sides = [",test" if (number + split) % 3 == 0 else ",train" for split in range(splits)]
            rows.append(f"videos/{name}.avi,{label}{''.join(sides)}")
            if name == JUNK:
                (folder / "videos" / f"{name}.avi").write_bytes(b"no video" * 100)
                continue
            moves = 3 * np.arange(FRAMES) + number
            places = [(40 + m, 60) if label == "stroll" else (80, 50 + m % 20) for m in moves]
            frames = [draw() if name == EMPTY else draw((*place, 250)) for place in places]
            write_video(folder / "videos" / f"{name}.avi", frames, 10)
    path = folder / "mine.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
