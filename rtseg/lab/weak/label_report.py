"""The report of a labelling run: what was made, what it looks like, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rtseg.counted import counted
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.lab.weak.compare.ablation import HEADER, AblationRow, ablation_cells
from rtseg.lab.weak.keywords.label import LabelRun
from rtseg.lab.weak.keywords.labels import SHEETS
from rtseg.media.images import read_image

REPORT = "report.html"


def left_out(run: LabelRun) -> list[str]:
    """What a run left out, one sentence a reason."""
    notes = []
    for stage in run.stages.values():
        notes += [f"{stage.name}: {why} ({count})" for why, count in stage.summary.get("left_out", {}).items()]
    keywords = run.stages["keywords"].summary
    if keywords["unmatched"]:
        notes.append(f"keywords: no frame is named {', '.join(keywords['unmatched'])}")
    if keywords["unseen"]:
        notes.append(f"keywords: no frame shows {', '.join(keywords['unseen'])}")
    without = run.stages["labels"].summary["frames_without_label"]
    if without:
        notes.append(f"labels: {counted(without, 'frame')} labelled as background alone")
    return notes


def write_label_report(run: LabelRun, title: str, ablation: Sequence[AblationRow] = ()) -> Path:
    """Write `report.html` into the run's folder.

    Args:
        run: a finished run.
        title: what was labelled.
        ablation: how good the tags are, where the truth is known.

    Raises:
        MediaError: the file cannot be written.
    """
    tags, labels = run.stages["tags"].summary, run.stages["labels"].summary
    keywords, folder = run.stages["keywords"].summary, run.stages["labels"].folder
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []
    if ablation:
        tables.append(("Tags compared with the truth, %", HEADER, [ablation_cells(row) for row in ablation]))
    classes = [(name, str(keywords["frames"][name]), str(count)) for name, count in tags["tags"].items()]
    tables.append(("Classes", ("keyword", "frames", "labels"), classes))
    stages = [
        (stage.name, f"{stage.seconds:.1f}", "from an earlier run" if stage.reused else "made now", stage.digest[:12])
        for stage in run.stages.values()
    ]
    tables.append(("Stages", ("stage", "seconds", "", "content"), stages))
    data = ReportData(
        title=title,
        subtitle="Labels from keywords",
        figures=[
            ("frames", str(labels["frames"])),
            ("proposals", str(run.stages["proposals"].summary["instances"])),
            ("labels", str(labels["annotations"])),
            ("rejected", str(tags["rejected"])),
            ("proven gap", f"{100 * tags['gap']:.3f} %"),
        ],
        facts=[
            ("proposals from", str(run.stages["proposals"].summary["source"])),
            ("labels", str(run.labels)),
            ("attention's loss by epoch", _losses(run.stages["attention"].summary["losses"])),
            ("features' loss by epoch", _losses(run.stages["features"].summary["losses"])),
            ("regions the features were trained on", str(run.stages["features"].summary["trained_on"])),
        ],
        tables=tables,
        gallery=_pictures(folder / SHEETS / "frames"),
        worst=_pictures(folder / SHEETS),
        worst_title="Tags and rejections",
        notes=left_out(run),
    )
    return write_report(run.out / REPORT, data)


def _losses(losses: Sequence[float]) -> str:
    return ", ".join(f"{loss:.4f}" for loss in losses) or "not trained"


def _pictures(folder: Path) -> list[Picture]:
    return [Picture.of(path.stem, np.asarray(read_image(path), np.uint8)) for path in sorted(folder.glob("*.jpg"))]
