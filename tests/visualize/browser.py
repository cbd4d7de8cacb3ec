"""Headless Chromium for the tests of pages: what a page becomes, what it loads, how it looks."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

_CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium on this machine (apt install chromium)")

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_WATCH = """<script>
window.refused = [];
document.addEventListener("securitypolicyviolation", event => window.refused.push(event.blockedURI));
</script>"""
_PROBE = """<script>
addEventListener("load", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  document.documentElement.style.width = "WIDTHpx";  // a headless window is never narrower than 500 pixels
  const inner = ".scroll, .matrix, pre, svg";
  const shown = [...document.querySelectorAll("body *")].filter(one => !one.parentElement.closest(inner));
  const found = {
    images: [...document.images].map(image => [image.complete, image.naturalWidth, image.naturalHeight]),
    loaded: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
    refused: window.refused, right: Math.max(...shown.map(one => one.getBoundingClientRect().right)),
    anchors: [...document.querySelectorAll('a[href^="#"]')].map(a => [a.hash, !!document.querySelector(a.hash)]),
    paper: getComputedStyle(document.body).backgroundColor,
  };
  const place = document.createElement("pre");
  place.id = "probe";
  place.textContent = JSON.stringify(found);
  document.body.append(place);
});
</script>"""


@dataclass(frozen=True)
class Probe:
    """What a script inside of a copy of the page sees.

    Attributes:
        images: of each, whether it is complete, its width and its height in its own pixels.
        loaded: addresses that the page asked for, but for `data:` ones.
        refused: what its policy refused.
        right: where the page ends on the right, in pixels; what scrolls in itself counts with its visible part.
        anchors: links in the page, and whether they lead somewhere.
        paper: colour of the page.
    """

    images: list[tuple[bool, int, int]]
    loaded: list[str]
    refused: list[str]
    right: float
    anchors: list[tuple[str, bool]]
    paper: str


def chromium(page: Path, place: Path, *options: str, width: int = 1280, height: int = 2000) -> str:
    """Opens a file; returns what Chromium prints."""
    command = [
        _CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={place / 'profile'}",
        f"--window-size={width},{height}", *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def dom(page: Path, place: Path) -> str:
    """The page's DOM after it was rendered."""
    return chromium(page, place, "--dump-dom")


def probe(page: Path, place: Path, *options: str, width: int = 1280) -> Probe:
    """Opens a copy of the page, laid out for a width in pixels, whose policy allows it one script, which looks around."""
    text = page.read_text(encoding="utf-8")
    policy = _POLICY.search(text)
    assert policy is not None and "default-src 'none'" in policy[0], "the page allows itself to load things"
    allowed = policy[0].replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    copy = place / f"probed_{page.name}"
    script = _PROBE.replace("WIDTH", str(width))
    copy.write_text(text.replace(policy[0], allowed + _WATCH).replace("</body>", script + "</body>"), encoding="utf-8")
    found = re.search(r'<pre id="probe">(.*?)</pre>', chromium(copy, place, "--dump-dom", *options, width=width), re.DOTALL)
    assert found is not None, "the page's script did not run"
    return Probe(**json.loads(html.unescape(found[1])))


def screenshot(page: Path, place: Path, *, width: int, height: int = 2000) -> np.ndarray:
    """BGR uint8 (height, width, 3)."""
    picture = place / f"{page.stem}_{width}.png"
    chromium(page, place, f"--screenshot={picture}", width=width, height=height)
    return cv2.imread(str(picture))
