"""docs/extending.md: its blocks are run from top to bottom, the modules in them saved as the page says."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from keras_actrec.datasets.record import Split
from tests.docs.commands import REPOSITORY, blocks

PAGE = REPOSITORY / "docs" / "extending.md"
MODULE = re.compile(r"Save this as `(\w+)\.py`:\s+```python")
SUBJECTS, FRAMES = range(1, 9), 24


def write_gestures(root) -> None:
    """A clip of each gesture and subject: a standing body whose right hand goes up and down, or out and back."""
    rng = np.random.default_rng(0)
    root.mkdir()
    still = np.stack([np.linspace(-0.3, 0.3, 20), np.linspace(-0.9, 0.9, 20), np.full(20, 2.5)], axis=1)
    for axis, gesture in enumerate(("wave", "point")):
        for subject in SUBJECTS:
            joints = np.tile(still, (FRAMES, 1, 1)) + rng.normal(0, 0.01, (FRAMES, 20, 3))
            joints[:, 11, 1 - axis] += 0.4 * np.sin(np.arange(FRAMES) / 2)
            lines = [",".join(f"{value:.3f}" for value in row) for row in joints.reshape(FRAMES, 60)]
            (root / f"{gesture}_s{subject:02}_r01.txt").write_text("\n".join(lines) + "\n")
    (root / "jump_s01_r01.txt").write_text("no class\n")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> dict[str, object]:
    """The names that the page's blocks have made, and what they have printed under "printed"."""
    place = tmp_path_factory.mktemp("extending")
    write_gestures(place / "gestures_data")
    text = PAGE.read_text(encoding="utf-8")
    modules = MODULE.findall(text)
    printed: list[str] = []
    names: dict[str, object] = {"print": lambda *words: printed.append(" ".join(map(str, words))), "printed": printed}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        for block in (block for block in blocks(text, "docs/extending.md") if block.language == "python"):
            if block.text.startswith('"""'):  # a module
                (place / f"{modules.pop(0)}.py").write_text(block.text, encoding="utf-8")
            else:
                exec(compile(block.text, str(block), "exec"), names)
        yield names
        for name in ("gestures", "frame_attention"):
            sys.modules.pop(name, None)
    assert not modules, "a module without a block"


def test_the_data_set_is_read(page):
    dataset = page["dataset"]
    assert (len(dataset.records), [clip.clip_id for clip in dataset.left_out]) == (16, ["jump_s01_r01"])
    split = dataset.protocols()["cross_subject"]
    assert isinstance(split, Split) and len(split.train) == len(split.test) == 8 and not set(split.train) & set(split.test)
    sequence = dataset.load_skeleton(dataset.records[0])
    assert sequence.joints.shape == (FRAMES, 1, 20, 3) and np.isfinite(sequence.joints).all()
    assert page["printed"][0] == "16 clips, 1 left out"


def test_broken_files_end_in_errors_of_the_package(page, tmp_path):
    from keras_actrec.errors import DatasetError, SkeletonFormatError

    with pytest.raises(DatasetError, match="no clip of Gestures in the data root"):
        page["Gestures"](tmp_path)
    for text, message in (("", "the file is empty"), ("1,2\n", "wrong number of values")):
        (tmp_path / "wave_s01_r01.txt").write_text(text)
        dataset = page["Gestures"](tmp_path)
        with pytest.raises(SkeletonFormatError, match=message):
            dataset.load_skeleton(dataset.records[0])


def test_the_pose_stream_trains_on_it(page):
    assert page["metrics"]["clips"]["test"] == 8
    assert 0 <= page["metrics"]["accuracy"]["pose"] <= 1
    assert page["experiment"].workdir.name == "gestures"


def test_the_model_is_trained_and_tested(page):
    model, result = page["model"], page["result"]
    assert model.output["temporal_attention"].shape == (None, 20)
    attention = model.predict({"pose": np.random.default_rng(0).normal(size=(2, *model.input["pose"].shape[1:]))}, verbose=0)
    np.testing.assert_allclose(attention["temporal_attention"].sum(axis=1), 1, rtol=1e-5)
    assert result.scores["pose"].shape == (8, 2) and len(page["history"].epochs) == 3
    assert page["printed"][-1].endswith(f"best epoch {page['history'].best_epoch}")


def test_a_size_that_makes_no_sense_is_refused(page):
    from keras_actrec.errors import ConfigError

    with pytest.raises(ConfigError, match="classes is out of range"):
        page["FrameAttentionConfig"](classes=1)
