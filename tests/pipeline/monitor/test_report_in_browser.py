"""The report of a corpus, looked at in a real browser: every picture is there, has its size, and is drawn."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprep.ingest import extend
from pipeline.monitor.report import gather, render
from support.patience import patient
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = {"funnel", "sites", "growth", "duplicates", "outcomes", "languages", "lengths", "karma"}
LOST = ("not_found", "robots_denied", "timeout")
WIDTH, HEIGHT = 1000, 4200
SCENES = {
    "en": "The ship of the northern fleet sailed with the tide and the {n} winds of the sea at dawn. ",
    "de": "Das Schiff der nördlichen Flotte fuhr mit der Flut und den {n} Winden der See im Morgengrauen. ",
    "fr": "Le navire de la flotte du nord est parti avec la marée et les {n} vents de la mer à l'aube. ",
}
MEASURE = """<script>
const boxes = [...document.querySelectorAll("svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  const name = svg.closest("section").getAttribute("aria-labelledby").slice(2);
  return [name, box.x, box.y, box.width, box.height];
});
document.documentElement.dataset.boxes = JSON.stringify(boxes);
document.documentElement.dataset.wide = document.documentElement.scrollWidth;
</script></body>"""

pytestmark = [pytest.mark.slow(10), pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of three crawled increments in three languages, some pages of which repeat others."""
    desk = tmp_path_factory.mktemp("desk")
    corpus, rng = make_corpus(desk / "corpus"), random.Random(0)
    for month in range(3):
        pages: list[Page] = []
        for n in range(20):
            scene = SCENES[rng.choice(["en", "en", "en", "de", "fr"])]
            text = "".join(scene.format(n=rng.randrange(10**6)) for _ in range(2 ** rng.randrange(1, 7)))
            again = n % 7 == 6 and pages
            pages.append((100 * month + n, f"http://a.test/{month}/{n}", pages[0][2] if again else text))
        add_pages(corpus, f"2013-0{month + 1}", pages, lost=LOST)
    extend(corpus, 1, no_progress)
    path = desk / "report.html"
    path.write_text(render(gather(corpus.root)).replace("</body>", MEASURE), encoding="utf-8")
    return path


def browse(page: Path, *words: str, dark: bool = False) -> str:
    assert CHROMIUM is not None
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    window = [f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars", *theme]
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command = [CHROMIUM, *quiet, *window, *words, page.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=patient(), check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def test_every_picture_has_its_size_and_is_drawn(page: Path) -> None:
    document = browse(page, "--dump-dom")
    boxes = json.loads(unescape(re.findall(r'data-boxes="([^"]*)"', document)[0]))
    assert {name for name, *_ in boxes} == PICTURES
    assert int(re.findall(r'data-wide="(\d+)"', document)[0]) <= WIDTH, "the page is wider than its window"

    shots = {}
    for dark in (False, True):
        shot = page.with_name(f"report-{dark}.png")
        browse(page, f"--screenshot={shot}", dark=dark)
        shots[dark] = np.asarray(Image.open(shot).convert("RGB"))
        assert shots[dark].shape == (HEIGHT, WIDTH, 3)
    assert shots[False].mean() > 200 > 60 > shots[True].mean()
    for name, x, y, width, height in boxes:
        assert width > 700, name
        assert height > 50, name
        for shot in shots.values():
            drawn = shot[int(y) : int(y + height), int(x) : int(x + width)].reshape(-1, 3)
            colours, counts = np.unique(drawn, axis=0, return_counts=True)
            assert len(colours) > 20, f"{name} is blank"
            assert counts.max() < 0.99 * len(drawn), f"{name} is blank"
