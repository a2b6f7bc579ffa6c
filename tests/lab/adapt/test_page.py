"""The page of an adaptation: what it says, and whether everybody can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtseg.lab.adapt.comparing import ClipComparison
from rtseg.lab.adapt.judgment import Comparison, Verdict
from rtseg.lab.adapt.page import write_page
from rtseg.lab.report.report import Picture
from rtseg.lab.scores.lanes.culane import CulaneScore
from tests.browser import BROWSER, NONE_HERE, violations

NOISE = np.random.default_rng(0).integers(0, 256, (720, 640, 3), dtype=np.uint8)  # what compresses worst
MOST = 9


def write(path: Path, pictures: int, placed: tuple[list[float], list[float]]) -> str:
    found, lost = CulaneScore(3, 0, 1), CulaneScore(2, 1, 2)
    scores = Comparison("frames kept back", (lost,) * 8, (found,) * 8)
    roads = Comparison("rendered roads", (found,) * 8, (lost,) * 8)
    clips = ClipComparison(scores, 3, placed, (Picture.of("monday.mcap, 12.0 s: 3 lines", NOISE),) * pictures)
    verdict = Verdict(False, "its F1 on rendered roads may fall by 20 points")
    write_page(path, "lanes-lite", "my-camera", clips, [scores, roads], verdict)
    return path.read_text(encoding="utf-8")


def test_the_page_says_what_came_of_it_and_nothing_that_is_not_known(tmp_path: Path) -> None:
    page = write(tmp_path / "report.html", MOST, ([0.001], [0.002]))
    assert "Refused: its F1 on rendered roads may fall by 20 points" in page
    assert "0.100 % of the width" in page
    assert page.count("data:image/jpeg") == MOST
    assert len(page) < 10_000_000
    bare = write(tmp_path / "bare.html", 0, ([], []))
    assert "of the width" not in bare
    assert bare.count("not known") == 2


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize(("width", "dark"), [(500, True), (800, False), (1280, False)])
def test_in_a_browser_nothing_breaks_wcag(width: int, dark: bool, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(page, 2, ([0.001], [0.002]))
    assert violations(page, tmp_path / "profile", width, dark) == []
