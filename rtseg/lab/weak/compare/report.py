"""What came out of comparing keyword supervision with full labels: tables for the terminal and for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from rtseg.counted import counted
from rtseg.files import write_text
from rtseg.lab.report.pages import markdown_table
from rtseg.lab.weak.compare.ablation import HEADER, AblationRow, ablation_cells

REPORT = "report.md"
_PAPER = {"AP": (37.1, 13.7), "AP50": (60.0, 25.5)}  # table 4: Mask R-CNN on COCO, full labels and keywords
_COLUMNS = ("", "true", "full", "keywords", "ratio", "paper, full", "paper, keywords")

Rows = list[list[str]]


def score_rows(scores: Mapping[str, Any]) -> Rows:
    """Rows of AP50 by class, of the means and of class-agnostic scores, in per cent, and the ratio of the two ways.

    Args:
        scores: from :func:`rtseg.lab.weak.compare.run.compare`.
    """
    full, weak = scores["full"], scores["weak"]
    rows = []
    for name, one in full["by class"].items():
        other = weak["by class"].get(name, {}).get("AP50")
        rows.append([f"AP50, {name}", str(full["true"][name]), *_cells(one["AP50"], other), "-", "-"])
    for metric in ("AP50", "AP", "class-agnostic AP50", "class-agnostic AP"):
        paper = [f"{value:.1f}" for value in _PAPER.get(metric, ())] or ["-", "-"]
        total = str(sum(full["true"].values()))
        rows.append([metric, total, *_cells(full.get(metric), weak.get(metric)), *paper])
    return rows


def comparison_table(scores: Mapping[str, Any]) -> Table:
    """The same for a terminal."""
    table = Table(title=_title(scores))
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name else "left")
    for row in score_rows(scores):
        table.add_row(*row)
    return table


def write_comparison(scores: Mapping[str, Any], path: Path) -> Path:
    """Write the comparison as Markdown: what was trained on what, the scores, and how good the tags are.

    Returns:
        The path.
    """
    split, training = scores["split"], scores["training"]
    used = [
        [use, ", ".join(split[group]["cities"]), str(split[group]["frames"])]
        for group, use in (
            ("masks", "masks without classes, for the proposals"),
            ("keywords", "keywords alone, or all labels"),
            ("held_out", "scored"),
        )
    ]
    trained = [[name, str(one["epochs"]), str(one["samples"])] for name, one in training.items()]
    tags = [ablation_cells(AblationRow(**row)) for row in scores["tags"]]
    finder = scores["finder"]
    parts = [
        "# Keywords against full labels",
        markdown_table(("use", "cities", "frames"), used),
        markdown_table(("network", "epochs", "samples"), trained),
        f"{_title(scores)}:",
        markdown_table(_COLUMNS, score_rows(scores)),
        f"The network that proposes instances reaches a class-agnostic AP50 of "
        f"{_percent(finder.get('class-agnostic AP50'))} there. Its proposals' tags, compared with the truth (%):",
        markdown_table(HEADER, tags),
    ]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _title(scores: Mapping[str, Any]) -> str:
    frames, cities = scores["full"]["frames"], scores["split"]["held_out"]["cities"]
    return f"Scores on {counted(frames, 'frame')} of {', '.join(cities)} (%)"


def _cells(full: float | None, weak: float | None) -> Sequence[str]:
    ratio = f"{weak / full:.2f}" if full and weak is not None else "-"
    return _percent(full), _percent(weak), ratio


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
