"""A report can be read by everybody: contrast, words for pictures, keys; and in a browser, where there is one."""

from __future__ import annotations

import itertools
import re
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg.doctor.card import CardReport, Step
from rtseg.doctor.examination import Examination, Outlook, PassedOver
from rtseg.doctor.findings import Finding
from rtseg.lab.replay.preview import Preview
from rtseg.lab.report.plots import COLORS, Series, plot_bars
from rtseg.lab.report.report import Picture, ReportData, render_report
from rtseg.runtime.latency import LatencyLog
from tests.browser import BROWSER, FLAGS, NONE_HERE, answer_of, violations

STYLE = files("rtseg.page").joinpath("page.css").read_text(encoding="utf-8")
VOID = {"meta", "img", "link", "br", "input"}


@pytest.fixture(scope="module")
def page() -> str:
    """A page with every part; its video turns from black to white at half of its four seconds."""
    seconds = np.arange(40) / 10
    log, video = LatencyLog(), Preview()
    for i in range(40):
        log.record({"infer": 90.0 if i == 33 else 10.0 + i % 3})
        video.write(np.full((36, 64, 3), 255 * (i >= 20), np.uint8), seconds[i])
    picture = Picture.of("1.0 s: 3 lanes", np.full((36, 64, 3), 90, np.uint8))
    return render_report(
        ReportData(
            title="A drive",
            subtitle="of four seconds",
            figures=[("frames", "40")],
            facts=[("model", "lanes-lite")],
            latency=log,
            series=[Series("Latency", "ms", seconds, log.values("infer")), Series("Found", "", seconds, seconds)],
            plots=[("Bars", plot_bars({"a": [1.0, 2.0]}, "", "ms", ["p50", "p99"]))],
            tables=[("Table", ("", "value"), [("a", "1")])],
            gallery=[picture, picture],
            worst=[picture],
            notes=["A note."],
            video=video.finish(),
        )
    )


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))


def outline(page: str) -> list[tuple[str, dict[str, str]]]:
    parser = _Outline()
    parser.feed(page)
    assert parser.open == []
    return parser.tags


def test_what_is_seen_is_also_said_and_reached_by_keys(page: str) -> None:
    tags = outline(page)
    assert ("html", {"lang": "en"}) in tags
    assert any(found.get("name") == "viewport" for tag, found in tags if tag == "meta")
    assert all(found.get("alt") for tag, found in tags if tag == "img")
    charts = [found for tag, found in tags if tag == "svg"]
    assert len(charts) == 3
    assert all(found["role"] == "img" and found["aria-label"] for found in charts)
    assert all(found["aria-label"] and "controls" in found for tag, found in tags if tag == "video")
    scrolled = [found for _, found in tags if found.get("class") == "table"]
    assert all(found["tabindex"] == "0" and found["aria-label"] for found in scrolled)
    headings = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert set(headings[1:]) == {2}
    assert all(found.get("scope") for tag, found in tags if tag == "th")


def test_nothing_is_loaded_and_no_other_script_can_run(page: str) -> None:
    for _, found in outline(page):
        for name in ("src", "href"):
            assert found.get(name, "data:").startswith(("data:", "#"))
    assert "default-src 'none'" in page
    assert "script-src 'sha256-" in page


def doctors_pages() -> dict[str, str]:
    finding = Finding("cards", "none", "expected a <card>, found none")
    outlook = Outlook(
        "lanes-lite", "onnxruntime", "cpu", {"backend": "ONNX Runtime"}, (PassedOver("torch", "cuda", "no"),)
    )
    step = Step("copies", {"up, us": 8.1, "ms": {"p50": 1.0}, "traceback": "one\n  two"}, "came back changed", 1.0)
    return {
        "doctor": Examination((finding,), (outlook,)).html(),
        "card": CardReport("A card", "lanes-lite", (step,), (finding,)).html(),
    }


def test_the_doctors_pages_have_the_same_design_and_no_script() -> None:
    for page in doctors_pages().values():
        tags = outline(page)
        assert STYLE in page
        assert "script" not in page
        assert [tag for tag, _ in tags].count("h1") == 1
        assert "&lt;card&gt;" in page
        assert all(found["tabindex"] == "0" for _, found in tags if found.get("class") == "table")


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    """Of WCAG 2: (brighter + 0.05) / (darker + 0.05)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_on_light_and_dark_pages(scheme: int) -> None:
    named = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", re.findall(r":root\{.*?\}", STYLE)[scheme]))
    for text, ground in [*itertools.product(("ink", "soft", "accent"), ("page", "card")), ("ink", "warn-bg")]:
        assert contrast(named[text], named[ground]) >= 4.5, (text, ground)
    for color, ground in itertools.product(COLORS, ("page", "card")):
        assert contrast(color, named[ground]) >= 3.0, (color, ground)


ASK = """
<script>{
const video = document.querySelector("video"), plots = [...document.querySelectorAll(".plot")];
const answers = [plots[0].getAttribute("role"), document.documentElement.scrollWidth <= innerWidth];
const svg = plots[0].querySelector("svg"), box = svg.getBoundingClientRect(), said = JSON.parse(svg.dataset.chart);
const x = said.left + (3.28 - said.from) / (said.to - said.from) * (said.right - said.left);
const at = { clientX: box.left + x * box.width / 720, clientY: box.top + 60 * box.width / 720, bubbles: true };
const tell = () => {
  plots[2].focus();
  plots[2].dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
  document.querySelectorAll("figure button")[1].click();
  answers.push(plots[2].getAttribute("aria-valuetext"), document.querySelector("dialog").open);
  answer(JSON.stringify(answers));
};
video.addEventListener("seeked", () => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").drawImage(video, 0, 0);
  answers.push(video.currentTime.toFixed(1), canvas.getContext("2d").getImageData(5, 5, 1, 1).data[0] > 200);
  tell();
}, { once: true });
const click = () => {
  svg.dispatchEvent(new PointerEvent("pointermove", at));
  answers.push(plots[0].querySelector(".told").textContent);
  svg.dispatchEvent(new MouseEvent("click", at));
};
if (video.readyState >= 2) click(); else video.addEventListener("loadeddata", click, { once: true });
}</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize(("width", "dark"), [(500, True), (1280, False)])
def test_in_a_browser_nothing_breaks_wcag(page: str, width: int, dark: bool, tmp_path: Path) -> None:
    pages = {"report": page, **doctors_pages()}
    for name, text in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        assert violations(path, tmp_path / "profile", width, dark) == []


@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize("width", [500, 800, 1280])
def test_in_a_browser_a_click_on_a_spike_shows_its_frame(page: str, width: int, tmp_path: Path) -> None:
    assert answer_of(page, ASK, tmp_path / "profile", width) == (
        '["slider",true,"3.30 s: Latency 90 ms, Found 3.3","3.3",true,"p99: a 2",true]'
    )
    picture = tmp_path / "shot.png"
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    place = [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
    size = [f"--window-size={width},900", "--virtual-time-budget=2000"]
    command = [str(BROWSER), *FLAGS, *size, f"--screenshot={picture}", *place]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    shot = cv2.imread(str(picture))
    assert shot is not None
    assert shot.shape[1] == width
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 50


CUT = """<script>
addEventListener("load", () => {
  const cut = [...document.querySelectorAll("svg.chart text")].filter(
    text => text.getBoundingClientRect().right > text.ownerSVGElement.getBoundingClientRect().right + 1);
  const wide = [...document.querySelectorAll(".table")].filter(table => table.scrollWidth > table.clientWidth + 1);
  answer(JSON.stringify([cut.map(text => text.textContent), wide.map(table => table.innerText)]));
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize("width", [500, 1280])
def test_in_a_browser_long_names_and_sentences_are_not_cut_off(width: int, tmp_path: Path) -> None:
    name = "a-machine-of-two-cores, instances-lite, int8, ONNX Runtime 1.31.1, 1280x640"
    sentence = "expected a video, got /somewhere/broken.mp4 that cannot be opened; it may be truncated, " * 3
    long = ReportData(
        title="Long",
        plots=[("Bars", plot_bars({name: [1.0], f"{name} (2)": [2.0]}, "", "ms", ["p50"]))],
        tables=[("Faults", ("source", "reason"), [("broken.mp4", sentence)])],
    )
    assert answer_of(render_report(long), CUT, tmp_path / "profile", width) == "[[],[]]"


def test_models_with_one_outlook_are_told_together() -> None:
    models = [
        Outlook(name, "onnxruntime", "cpu", {}, (PassedOver("torch", "cuda", reason),))
        for name, reason in (("one", "no driver"), ("two", "no driver"), ("three", "no engine"))
    ]
    page = Examination((), tuple(models)).html()
    assert re.findall(r"<h2>(Why .*?)</h2>", page) == ["Why one, two are no faster", "Why three is no faster"]


def test_a_single_bar_is_a_chart() -> None:
    assert plot_bars({"found": [3.0]}, "bin", "count").count("<svg") == 1
