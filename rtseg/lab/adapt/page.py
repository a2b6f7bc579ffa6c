"""An adaptation on one page: before and after, the verdict, and the frames that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rtseg.lab.adapt.comparing import ClipComparison
from rtseg.lab.adapt.judgment import Comparison, Verdict
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import ReportData, write_report

_HEADER = ("", "pictures", "lines", "F1 %", "precision %", "recall %", "gain, points", "surely more than")


def write_page(
    path: Path, start: str, name: str, clips: ClipComparison, compared: Sequence[Comparison], verdict: Verdict
) -> None:
    """Write the report.

    Args:
        path: of the page.
        start: the model that was adapted.
        name: of the new one.
        clips: on the frames kept back.
        compared: on all kinds of frames.
        verdict: what came of it.

    Raises:
        MediaError: it cannot be written.
    """
    rows = []
    for one in compared:
        for when, score in zip(("before", "after"), one.totals, strict=True):
            shares = [f"{100 * share:.1f}" for share in (score.f1, score.precision, score.recall)]
            told = [f"{100 * one.gain:+.1f}", f"{100 * one.least_gain:+.1f}"] if when == "after" else ["", ""]
            rows.append((f"{one.name}, {when}", str(len(one.before)), str(one.lines), *shares, *told))
    placed = [f"{100 * float(np.mean(one)):.3f} % of the width" if one else "not known" for one in clips.placed]
    own = compared[0].totals
    data = ReportData(
        title=f"{name}: {start} adapted to a camera",
        subtitle=("Kept: " if verdict.better else "Refused: ") + verdict.reason,
        figures=[
            ("F1 before", f"{100 * own[0].f1:.1f} %"),
            ("F1 after", f"{100 * own[1].f1:.1f} %"),
            ("beside the line, before", placed[0]),
            ("beside the line, after", placed[1]),
        ],
        facts=machine_facts(),
        tables=[("Before and after", _HEADER, rows)],
        worst=clips.pictures,
        worst_title="Frames kept back that differ most",
        notes=[
            "Nobody labelled the frames kept back. What should be found in a frame is what two of three witnesses "
            "tell: the model before, the model after, each by the frames half a second before and after this one and "
            "never by the frame itself, and the paint in the picture.",
            f"{clips.by_paint} of {compared[0].lines} lines are told by one model and the paint.",
            "What both models overlook all the time counts for neither: only labels (--labels) show that.",
            "Frames kept back are the last quarter of each recording, after a gap; frames are found one by one here, "
            "without the tracker.",
        ],
    )
    write_report(path, data)
