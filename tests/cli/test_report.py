"""keras-actrec report: a page again, of one protocol and of several; clear refusals."""

from __future__ import annotations

import pytest

from keras_actrec.cli.main import main
from tests.recipes.test_report_page import folds, left_by, quickly

__all__ = ["folds", "quickly"]  # fixtures


def test_beside_the_run_or_elsewhere(tmp_path, capsys):
    run = left_by(tmp_path / "run", "vpn")
    first = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"wrote {run}/report.html\n" and (run / "report.html").read_text() == first
    assert main(["report", str(run), "--out", str(tmp_path / "pages" / "vpn.html")]) == 0
    assert (tmp_path / "pages" / "vpn.html").read_text() == first


def test_of_several_protocols_each_has_its_page(folds):
    for page in folds.rglob("report.html"):
        page.unlink()
    assert main(["report", str(folds)]) == 0
    assert sorted(str(page.relative_to(folds)) for page in folds.rglob("report.html")) == [
        "report.html", "split1/report.html", "split2/report.html",
    ]  # fmt: skip
    assert 'href="split1/report.html"' in (folds / "report.html").read_text()


def test_no_run(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "give the folder of a finished run" in capsys.readouterr().err.lower()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["report"], ["report", "a", "b"]])
def test_arguments(words, capsys):
    assert main(words) == 2
    assert "usage: keras-actrec report" in capsys.readouterr().err
