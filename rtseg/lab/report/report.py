"""A run as one HTML file that needs nothing else: pictures and plots are inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.text_files import write_text
from rtseg.lab.report.plots import Series, plot_latency, plot_series
from rtseg.runtime.latency import LatencyLog

_PICTURE_WIDTH = 640


@dataclass(frozen=True)
class Picture:
    """A picture for the gallery, already compressed and small.

    Attributes:
        caption: one line below it.
        jpeg: the file's bytes.
    """

    caption: str
    jpeg: bytes

    @classmethod
    def of(cls, caption: str, image: NDArray[np.uint8]) -> Picture:
        """Shrink and compress an (H, W, 3) uint8 BGR image."""
        if image.shape[1] > _PICTURE_WIDTH:
            size = (_PICTURE_WIDTH, max(1, round(image.shape[0] * _PICTURE_WIDTH / image.shape[1])))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return cls(caption, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())


@dataclass(frozen=True)
class ReportData:
    """What a report shows; parts left empty are left out.

    Attributes:
        title: of the page.
        subtitle: one line below it.
        figures: the few numbers that matter most, (label, value).
        facts: what ran on what: (name, value).
        latency: stage times of every frame.
        series: values over time.
        plots: (title, SVG) of further plots.
        tables: (title, header, rows) of further figures.
        gallery: pictures from all over the run.
        worst: the pictures to look at first.
        worst_title: what makes them the worst.
        best: the best, where there is a truth to say so.
        notes: drops, skipped frames and other things to know, one sentence each.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    latency: LatencyLog = field(default_factory=LatencyLog)
    series: Sequence[Series] = ()
    plots: Sequence[tuple[str, str]] = ()
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    gallery: Sequence[Picture] = ()
    worst: Sequence[Picture] = ()
    worst_title: str = "Least certain frames"
    best: Sequence[Picture] = ()
    notes: Sequence[str] = ()


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the report; it appears under its name when it is complete.

    Returns:
        The path written.

    Raises:
        MediaError: the file cannot be written.
    """
    path = Path(path)
    write_text(path, render_report(data))
    return path


def render_report(data: ReportData) -> str:
    """Return the page as HTML."""
    summary = data.latency.summary()
    sections = [
        _figures(data.figures),
        _notes(data.notes),
        _section(data.worst_title, _pictures(data.worst)),
        _section("Best frames", _pictures(data.best)),
        _section("Frames", _pictures(data.gallery)),
    ]
    if summary:
        rows = [(s.stage, str(s.count), *(f"{v:.2f}" for v in (s.mean, s.p50, s.p90, s.p99, s.max))) for s in summary]
        table = _table(("stage", "frames", "mean ms", "p50", "p90", "p99", "max"), rows)
        histogram = plot_latency({s.stage: data.latency.values(s.stage) for s in summary})
        sections.append(_section("Latency by stage", table + f'<div class="plot">{histogram}</div>'))
    plot = plot_series(data.series)
    sections.append(_section("Over time", f'<div class="plot">{plot}</div>' if plot else ""))
    sections += [_section(title, f'<div class="plot">{svg}</div>' if svg else "") for title, svg in data.plots]
    sections += [_section(title, _table(header, rows)) for title, header, rows in data.tables]
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in data.facts)
    sections.append(_section("What ran", f"<dl>{facts}</dl>" if facts else ""))
    subtitle = f"<p class=lead>{escape(data.subtitle)}</p>" if data.subtitle else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(data.title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(data.title)}</h1>{subtitle}\n"
        + "\n".join(filter(None, sections))
        + "</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    tiles = "".join(f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>" for label, value in figures)
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _pictures(pictures: Sequence[Picture]) -> str:
    shown = "".join(
        f'<figure><img alt="{escape(p.caption, quote=True)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(p.jpeg).decode()}">'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in pictures
    )
    return f'<div class="gallery">{shown}</div>' if shown else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


_STYLE = """
:root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--ink:#1d2327;--soft:#667079;--line:#e3e5e6;--accent:#2f9e6e;
--warn:#b7791f;--warn-bg:#fdf6e7}
@media(prefers-color-scheme:dark){:root{--page:#15181a;--card:#1d2124;--ink:#e6e9ea;--soft:#98a2a9;--line:#30363a;
--accent:#4cc38a;--warn:#e0b050;--warn-bg:#2a2518}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{overflow-wrap:anywhere;font-size:1.7rem;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:1.05rem;margin:36px 0 12px;letter-spacing:.01em}
.lead{color:var(--soft);margin:.4em 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;margin:22px 0 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.tiles b{display:block;font-size:1.45rem;font-weight:600;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:.85rem}
.notes{margin:18px 0 0;padding:10px 14px 10px 32px;background:var(--warn-bg);border-left:3px solid var(--warn);
border-radius:4px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(320px,100%),1fr));gap:14px}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden}
figure img{display:block;width:100%;height:auto}
figcaption{padding:7px 11px;font-size:.85rem;color:var(--soft);font-variant-numeric:tabular-nums}
.table{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:6px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
th{color:var(--soft);font-weight:500;font-size:.85rem}
tbody tr:last-child td{font-weight:600}
.plot{margin-top:14px;color:var(--ink)}
.plot svg{width:100%;height:auto;display:block;font-family:inherit}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
"""
