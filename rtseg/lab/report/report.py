"""A run as one HTML file that needs nothing else: pictures, charts and video are inside, and it loads nothing.

Charts tell their numbers at the pointer and by keys, and those over time lead the video (``report.js``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from rtseg.files import write_text
from rtseg.lab.report.plots import Series, plot_latency, plot_series
from rtseg.page import Page, environment
from rtseg.runtime.latency import LatencyLog

_PICTURE_WIDTH = 640


@dataclass(frozen=True)
class Picture:
    """A picture for the gallery, already compressed and small.

    Attributes:
        caption: one line below it.
        jpeg: the file's bytes.
        link: address, relative to the page, that the caption leads to; empty for none.
    """

    caption: str
    jpeg: bytes
    link: str = ""

    @classmethod
    def of(cls, caption: str, image: NDArray[np.uint8]) -> Picture:
        """Shrink and compress an (H, W, 3) uint8 BGR image."""
        if image.shape[1] > _PICTURE_WIDTH:
            size = (_PICTURE_WIDTH, max(1, round(image.shape[0] * _PICTURE_WIDTH / image.shape[1])))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return cls(caption, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())


@dataclass(frozen=True, kw_only=True)
class ReportData(Page):
    """What a report shows beside what every page does; parts left empty are left out.

    Attributes:
        latency: stage times of every frame.
        series: values over time.
        plots: (title, SVG) of further plots.
        gallery: pictures from all over the run.
        worst: the pictures to look at first.
        worst_title: what makes them the worst.
        best: the best, where there is a truth to say so.
        video: an MP4 whose time is that of the series; empty for none.
    """

    latency: LatencyLog = field(default_factory=LatencyLog)
    series: Sequence[Series] = ()
    plots: Sequence[tuple[str, str]] = ()
    gallery: Sequence[Picture] = ()
    worst: Sequence[Picture] = ()
    worst_title: str = "Least certain frames"
    best: Sequence[Picture] = ()
    video: bytes = b""


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
    rows = [(s.stage, str(s.count), *(f"{v:.2f}" for v in (s.mean, s.p50, s.p90, s.p99, s.max))) for s in summary]
    histogram = plot_latency({s.stage: data.latency.values(s.stage) for s in summary})
    galleries = [(data.worst_title, data.worst), ("Best frames", data.best), ("Frames", data.gallery)]
    script = _OWN.get_source(_TEMPLATES, "report.js")[0]
    return _TEMPLATES.get_template("report.html").render(
        data=data,
        stages=rows,
        histogram=histogram,
        series=plot_series(data.series),
        galleries=galleries,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


_OWN = jinja2.PackageLoader("rtseg.lab.report", ".")
_TEMPLATES = environment(_OWN)
_TEMPLATES.filters["base64"] = lambda data: base64.b64encode(data).decode()
