"""Where the time goes: every step is counted once, and the answers are those without a stopwatch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_actrec.cli.benchmark import table
from keras_actrec.cli.main import main
from keras_actrec.cli.timing import HANDS, NETWORK, POSES, REST, Benchmark, Stopwatch, benchmark, timed
from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.recipes.prediction.model import load_prediction_model
from keras_actrec.recognizer import Recognizer
from tests import small_exports


@pytest.fixture(scope="module")
def made() -> Benchmark:
    repeats = tuple(
        {POSES: seconds, HANDS: 1.0, NETWORK: 0.5, REST: 0.5, "total": seconds + 2.0} for seconds in (1.0, 3.0, 2.0)
    )
    return Benchmark("sta_hands", "clip.mp4", 120, 30.0, 5.0, 9.0, repeats, {"cores": 2})


def test_medians(made):
    assert made.seconds == {POSES: 2.0, HANDS: 1.0, NETWORK: 0.5, REST: 0.5, "total": 4.0}
    assert made.frames_per_second == 30.0
    assert made.as_json()["seconds"]["total"] == 4.0 and len(made.as_json()["repeats"]) == 3


def test_the_table(made):
    assert table(made).splitlines() == [
        "sta_hands, clip.mp4: 120 frames at 30 per second (4.00 s)",
        "loading the model     5.000 s",
        "first clip            9.000 s",
        "then, median of 3:",
        "  poses               2.000 s   50%",
        "  hand features       1.000 s   25%",
        "  network             0.500 s   12%",
        "  frames and crops    0.500 s   12%",
        "  whole clip          4.000 s, 30.0 frames per second, 1.00 times real time",
    ]


def test_a_stopwatch_adds_up_and_begins_anew():
    watch = Stopwatch()
    for _ in range(2):
        with watch.step("a"):
            pass
    with pytest.raises(ZeroDivisionError), watch.step("b"):
        raise ZeroDivisionError
    first = watch.taken()
    assert set(first) == {"a", "b"} and all(seconds > 0 for seconds in first.values()) and watch.taken() == {}


def test_a_network_of_poses(clips, capsys):
    arguments = ["benchmark", str(clips.folder / "0.avi"), "--skeleton", str(clips.folder / "0.npz"), "--repeats", "2"]
    out = clips.folder / "benchmark.json"
    assert main([*arguments, "--model", str(clips.export), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("sta_hands, 0.avi: 12 frames at 10 per second (1.20 s)\n") and text.endswith(f"wrote {out}\n")
    assert "  network " in text and "hand features" not in text
    found = json.loads(out.read_text())
    assert len(found["repeats"]) == 2 and found["frames"] == 12 and found["machine"]["cores"] >= 1
    for repeat in found["repeats"]:
        assert set(repeat) == {POSES, NETWORK, REST, "total"}
        assert repeat["total"] == pytest.approx(sum(repeat.values()) - repeat["total"], rel=1e-6) and repeat[NETWORK] > 0


def test_every_step_of_a_model_that_looks_at_hands_and_its_answer(tmp_path, clips):
    directory = small_exports.export_sta_hands(tmp_path / "hands", streams="rgb", pose_conditioning=False)
    watch = Stopwatch()
    recognizer = Recognizer(timed(load_prediction_model(directory), watch))
    answer = recognizer(clips.folder / "1.avi", clips.folder / "1.npz")
    assert set(watch.taken()) == {HANDS, NETWORK}
    expected = Recognizer.load(directory)(clips.folder / "1.avi", clips.folder / "1.npz")
    np.testing.assert_array_equal(answer.probabilities, expected.probabilities)


def test_what_cannot_be_measured(clips):
    with pytest.raises(ConfigError, match=r"at least one repeat is needed \(found 0"):
        benchmark(clips.export, clips.folder / "0.avi", clips.folder / "0.npz", repeats=0)
    with pytest.raises(VideoError, match=r"nothing\.avi"):
        benchmark(clips.export, clips.folder / "nothing.avi", clips.folder / "0.npz", repeats=1)
