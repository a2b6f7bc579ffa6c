"""Instance scores as tables for the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from rtseg.files import write_text
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import ReportData, write_report
from rtseg.lab.scores.instances.cityscapes_ap import FULL_PIXELS
from rtseg.lab.scores.instances.evaluation import InstanceEvaluation
from rtseg.lab.scores.instances.scores import InstanceScores
from rtseg.lab.scores.instances.sheet import InstanceSheet
from rtseg.lab.scores.instances.variants import AS_IT_IS, Variant
from rtseg.runtime import Pipeline
from rtseg.runtime.latency import LatencyLog

Rows = list[list[str]]


def instance_tables(evaluation: InstanceEvaluation) -> list[tuple[str, list[str], Rows]]:
    """(title, header, rows) of every table there is something for; shares in per cent."""
    scores = evaluation.scores
    tables = [("By class", *_by_class(scores)), ("By size", *_by_size(scores))]
    if evaluation.oracles:
        tables.append(("With true maps", *_variants([(AS_IT_IS, scores), *evaluation.oracles])))
    if evaluation.ablation:
        tables.append(("Ablation", *_variants([(AS_IT_IS, scores), *evaluation.ablation])))
    return tables


def terminal_tables(evaluation: InstanceEvaluation) -> list[Table]:
    """The tables for the terminal."""
    shown = []
    for title, header, rows in instance_tables(evaluation):
        table = Table(*header, title=f"{evaluation.dataset}: {title.lower()}")
        for row in rows:
            table.add_row(*row)
        shown.append(table)
    return shown


def write_instance_report(
    out: Path, evaluation: InstanceEvaluation, pipeline: Pipeline, latency: LatencyLog, sheet: InstanceSheet
) -> None:
    """Write ``report.html`` and ``scores.json``.

    Raises:
        MediaError: they cannot be written.
    """
    card, scores = pipeline.card, evaluation.scores
    ap, ap50 = scores.ap
    report = ReportData(
        title=f"Instance scores of {card.name}",
        subtitle=evaluation.dataset,
        figures=[
            ("AP", _percent(ap)),
            ("AP50", _percent(ap50)),
            ("PQ", _percent(scores.panoptic)),
            ("class-agnostic AP", _percent(scores.agnostic.ap)),
            ("true instances", str(sum(scores.true.values()))),
        ],
        facts=[
            ("data set", evaluation.dataset),
            ("model", card.name),
            ("network input", f"{card.input.width}x{card.input.height}"),
            *((name, str(value)) for name, value in pipeline.backend.items()),
            *machine_facts(),
        ],
        latency=latency,
        tables=instance_tables(evaluation),
        gallery=sheet.spread,
        worst=sheet.worst,
        worst_title="Worst frames",
        best=sheet.best,
        notes=notes(evaluation),
    )
    write_report(out / "report.html", report)
    content = {
        "model": card.name,
        "dataset": evaluation.dataset,
        "size": evaluation.size,
        "frames": evaluation.frames,
        "scores": _plain(scores),
        "oracles": {variant.name: _plain(row) for variant, row in evaluation.oracles},
        "ablation": [
            {
                "name": variant.name,
                "paper": asdict(variant.paper),
                "reason": variant.reason,
                "scores": _plain(row) if row else None,
            }
            for variant, row in evaluation.ablation
        ],
    }
    write_text(out / "scores.json", json.dumps(_finite(content), indent=1) + "\n")


def notes(evaluation: InstanceEvaluation) -> list[str]:
    """What to know when reading the scores, one sentence each."""
    scores, said = evaluation.scores, []
    if scores.coco is None:
        said.append("The model names no class of this data set: everything is scored as one class.")
    elif scores.cityscapes is None:
        said.append("Frames differ in size: AP and AP50 are COCO's, since Cityscapes' are for frames of one size.")
    else:
        height, width = evaluation.size or (0, 0)
        least = math.ceil(100 * height * width / FULL_PIXELS)
        said.append(
            f"Scored at {width}x{height}; true instances under {least} pixels are ignored, which is 100 at 2048x1024."
        )
        if scores.cityscapes.ap50m is None:
            said.append("AP100m and AP50m need depth, which this data set does not have.")
    return said


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _by_class(scores: InstanceScores) -> tuple[list[str], Rows]:
    deep = scores.cityscapes is not None and scores.cityscapes.ap50m is not None
    header = ["", "true", "found", "AP", "AP50", *(("AP100m", "AP50m") if deep else ()), "COCO AP", "PQ", "SQ", "RQ"]
    rows = []
    for name, one in scores.panoptic_by_class.items():
        cityscapes, coco = scores.cityscapes_by_class.get(name), scores.coco_by_class.get(name, scores.agnostic)
        first = cityscapes or coco
        values = [first.ap, first.ap50]
        values += [cityscapes.ap100m, cityscapes.ap50m] if deep and cityscapes else []  # type: ignore[list-item]
        values += [coco.ap, one.quality, one.segmentation if one.matched else math.nan, one.recognition]
        counts = [scores.true.get(name, one.matched + one.missed), scores.found.get(name, one.matched + one.wrong)]
        rows.append([name, *map(str, counts), *map(_percent, values)])
    values = [*scores.ap]
    if deep and scores.cityscapes:
        values += [scores.cityscapes.ap100m, scores.cityscapes.ap50m]  # type: ignore[list-item]
    values += [(scores.coco or scores.agnostic).ap, scores.panoptic]
    total = [str(sum(scores.true.values())), str(sum(scores.found.values()))]
    rows.append(["mean", *total, *map(_percent, values), "", ""])
    return header, rows


def _by_size(scores: InstanceScores) -> tuple[list[str], Rows]:
    header = ["COCO", "AP", "AP50", "AP75", "small", "medium", "large", "AR 1", "AR 10", "AR 100"]
    kinds = [("by class, bands 32, 96 px", scores.coco)] if scores.coco else []
    kinds += [
        ("one class, bands 32, 96 px", scores.agnostic),
        ("one class, bands 64, 192 px, IoU .5", scores.exemplar),
    ]
    return header, [
        [name, *(_percent(v) for v in (k.ap, k.ap50, k.ap75, k.small, k.medium, k.large, k.ar1, k.ar10, k.ar100))]
        for name, k in kinds
        if k
    ]


def _variants(rows: Sequence[tuple[Variant, InstanceScores | None]]) -> tuple[list[str], Rows]:
    papers = any(variant.paper.table for variant, _ in rows)
    header = ["", "AP", "AP50", "PQ", "one class AP", *(("paper AP", "paper AP50", "paper's table") if papers else ())]
    lines = []
    for variant, scores in rows:
        cells = [variant.name]
        if scores:
            cells += [_percent(v) for v in (*scores.ap, scores.panoptic, scores.agnostic.ap)]
        else:
            cells += [f"- ({variant.reason})", "-", "-", "-"]
        if papers:
            paper = variant.paper
            cells += ["-" if v is None else f"{v:.1f}" for v in (paper.ap, paper.ap50)] + [paper.table]
        lines.append(cells)
    return header, lines


def _plain(scores: InstanceScores) -> dict[str, Any]:
    content = asdict(scores)
    content["panoptic_by_class"] = {
        name: {**asdict(one), "pq": one.quality, "sq": one.segmentation, "rq": one.recognition}
        for name, one in scores.panoptic_by_class.items()
    }
    return content


def _finite(content: Any) -> Any:
    """The same with null for NaN, which JSON has not."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
