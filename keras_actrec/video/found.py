"""The videos below a folder."""

from __future__ import annotations

from pathlib import Path

from keras_actrec.errors import VideoError
from keras_actrec.video.rescale import VIDEO_SUFFIXES


def video_files(path: str | Path) -> tuple[Path, ...]:
    """The video files in a folder and its sub-folders, sorted; a file is taken for one whatever its ending.

    Raises:
        VideoError: no such file or folder, or a folder without videos.
    """
    path = Path(path)
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise VideoError("there is no such video or folder", file=path, fix="check the path")
    found = tuple(sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()))
    if not found:
        raise VideoError(
            "the folder holds no videos", file=path, expected=f"files {', '.join(VIDEO_SUFFIXES)}", fix="check the path"
        )
    return found
