"""The report's parts one by one."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg.errors import MediaError
from rtseg.lab.report.gallery import Gallery
from rtseg.lab.report.machine import _caches, machine_facts
from rtseg.lab.report.plots import Series, plot_bars, plot_curves, plot_latency, plot_series
from rtseg.lab.report.report import Picture, ReportData, render_report, write_report
from rtseg.runtime.latency import LatencyLog


def test_an_empty_report_has_no_empty_parts() -> None:
    page = render_report(ReportData(title="Title"))
    assert "Title" in page
    assert "<h2>" not in page


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    wild = "<script>alert(\"x\")</script> & 'quotes'"
    data = ReportData(
        title=wild, subtitle=wild, figures=[(wild, wild)], facts=[(wild, wild)], notes=[wild], worst_title=wild,
        tables=[(wild, (wild,), [(wild,)])], gallery=[Picture(wild, b"x")], worst=[Picture(wild, b"x")],
    )  # fmt: skip
    page = write_report(tmp_path / "a" / "r.html", data).read_text(encoding="utf-8")
    assert page.count("<script") == 1  # the page's own
    assert 'alt="&lt;script&gt;' in page


def test_words_in_charts_are_escaped() -> None:
    wild = "</svg><script>alert(1)</script> & \"quotes'"
    values = np.arange(3.0)
    svgs = [
        plot_series([Series(wild, wild, values, values)]),
        plot_latency({wild: values}),
        plot_bars({wild: [1.0, 2.0]}, wild, wild, [wild, wild]),
        plot_curves({wild: (values / 3, values / 3)}, wild, wild),
    ]
    for svg in svgs:
        assert "<script" not in svg
        said = json.loads(ElementTree.fromstring(svg).attrib["data-chart"])
        assert {strip["name"] for strip in said["strips"]} == {wild}


def test_a_spike_among_many_frames_is_drawn_and_told() -> None:
    values = np.full(50_000, 10.0)
    values[31_417] = 180.0
    values[100:200] = np.nan
    svg = plot_series([Series("Latency", "ms", np.arange(50_000) / 30, values)])
    (strip,) = json.loads(ElementTree.fromstring(svg).attrib["data-chart"])["strips"]
    assert len(strip["x"]) < 2000
    assert strip["x"][int(np.nanargmax(np.array(strip["y"], float)))] == pytest.approx(31_417 / 30, abs=1e-2)
    assert None in strip["y"]


def test_pictures_are_inside_and_small() -> None:
    picture = Picture.of("one", np.full((720, 1280, 3), 90, np.uint8))
    page = render_report(ReportData(title="t", gallery=[picture]))
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", page)[0])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (360, 640, 3)


def test_plots_take_the_pages_ink_and_load_nothing() -> None:
    rng = np.random.default_rng(0)
    svg = plot_latency({"infer": rng.gamma(4, 2, 500), "decode": rng.gamma(2, 1, 500), "none": np.zeros(0)})
    svg += plot_series(
        [Series("a < b", "ms", np.arange(9.0), np.r_[np.arange(8.0), np.nan]), Series("", "", *[np.zeros(0)] * 2)]
    )
    assert svg.count("<svg") == 2
    assert "currentColor" in svg
    assert ">infer: " in svg
    assert not re.search(r'href="(?!#)', svg)
    assert plot_latency({}) == plot_series([]) == ""


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [5.0], [1e-9, 1e9], [np.nan, 1.0]])
def test_plots_of_odd_values(values: list[float]) -> None:
    array = np.array(values)
    assert "<svg" in plot_series([Series("x", "", np.arange(len(array), dtype=float), array)])
    if np.isfinite(array).all():
        assert "<svg" in plot_latency({"x": array})


def test_latency_table_is_the_logs() -> None:
    log = LatencyLog()
    for i in range(1, 101):
        log.record({"infer": float(i)})
    page = render_report(ReportData(title="t", latency=log))
    assert "<td>infer</td><td>100</td><td>50.50</td><td>50.50</td>" in page


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="expected to write"):
        write_report(tmp_path / "file" / "r.html", ReportData(title="t"))


@pytest.mark.parametrize("frames", [1, 5, 9, 27, 28, 1000])
def test_gallery_spreads_over_the_whole_run(frames: int) -> None:
    gallery = Gallery(spread=9)
    image = np.zeros((4, 4, 3), np.uint8)
    for i in range(frames):
        gallery.add(i, str(i), image, 0.0)
    shown = [int(p.caption) for p in gallery.spread]
    assert len(shown) == min(frames, 9)
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    assert shown[-1] >= frames * 0.8 - 1


def test_gallery_keeps_the_worst_of_different_moments() -> None:
    gallery = Gallery(worst=3, apart=10)
    badness = np.zeros(200)
    badness[[20, 21, 22, 100, 150, 190]] = [5, 9, 7, 3, 8, 1]
    for i, bad in enumerate(badness):
        gallery.add(i, str(i), np.zeros((4, 4, 3), np.uint8), float(bad))
    assert [int(p.caption) for p in gallery.worst] == [21, 150, 100]


def test_caches_of_a_core_are_named(tmp_path: Path) -> None:
    assert _caches(tmp_path / "none") == ""
    caches = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M")]
    for i, (level, kind, size) in enumerate(caches):
        (tmp_path / f"index{i}").mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (tmp_path / f"index{i}" / name).write_text(value + "\n")
    (tmp_path / "index3").mkdir()
    assert _caches(tmp_path) == "L1 48K, L2 2M"


def test_machine_facts_are_words() -> None:
    for name, value in machine_facts():
        assert name
        assert value.strip(", ")


def _styles(svg: str, tags: str) -> list[tuple[tuple[str, str], ...]]:
    """How the parts of a chart are drawn, in their order."""
    looks = ("fill", "fill-opacity", "stroke", "stroke-dasharray")
    shapes = (shape for shape in ElementTree.fromstring(svg).iter() if shape.tag.rpartition("}")[2] == tags)
    return [tuple((name, shape.attrib[name]) for name in looks if name in shape.attrib) for shape in shapes]


@pytest.mark.parametrize("count", [1, 7, 8, 28])
def test_no_two_names_of_a_chart_are_drawn_alike_and_the_legend_shows_how(count: int) -> None:
    names = [f"run {i}" for i in range(count)]
    bars = plot_bars({name: [1.0, 2.0] for name in names}, "", "ms")
    assert len(set(_styles(bars, "rect"))) == count
    assert _styles(bars, "rect") == _styles(bars, "path")
    x = np.linspace(0, 1, 9)
    curves = plot_curves(dict.fromkeys(names, (x, x)), "x", "y")
    legend, drawn = (_styles(curves, "path")[part] for part in (slice(count), slice(count, None)))
    assert len(set(legend)) == count
    assert [style[-len(one) :] for style, one in zip(drawn, legend, strict=True)] == legend
