"""docs/instances.md: what the instance models score, with true maps, and in the papers' ablations
(``rtseg lab instance-page``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rtseg.lab.report.pages import markdown_table, write_page
from rtseg.lab.scores.instances.evaluate import HELD_OUT, evaluate_instances
from rtseg.lab.scores.instances.evaluation import InstanceEvaluation
from rtseg.lab.scores.instances.report import instance_tables, notes
from rtseg.lab.scores.instances.variants import ORACLES, ablates
from rtseg.loading import load
from rtseg.runtime.card import ModelCard

_INTRODUCTION = (
    "All figures in per cent. AP is that of Cityscapes' own script: over IoU .5 to .95, averaged over classes; regions "
    "of several objects drawn as one, and all that the benchmark calls void, do not count. COCO AP and AR are "
    "pycocotools', on the same masks. PQ is panoptic quality of things, over all that is found, whatever its score. "
    "Cities are held out whole: no training frame is of them."
)
_TRUE_MAPS = (
    "The network's outputs are replaced by what a perfect network would give at its resolution, so that the rest shows "
    "what grouping costs. *Semantic*: class maps. *Affinity*: affinities and embeddings, or colors and centers. "
    "*Ranking*: scores by IoU with the truth."
)
_ABLATION = (
    "The same network read in other ways, beside what the paper has on Cityscapes' val set with all data at full "
    "resolution."
)
_ONE_MODEL = (
    "`rtseg evaluate --model NAME --data FOLDER` writes the same tables of one model with its best and worst frames."
)


class _Paper(NamedTuple):
    name: str
    ap: float  # on Cityscapes' val set
    network: str
    pictures: str
    training: str


_PAPERS = {
    # Table III and section IV-B of L2C, table 4 of DaffNet and its training, table 3 and section 5.1 of GMIS.
    "l2c": _Paper("L2C", 16.0, "ResNet-101", "2,975 at 2048x1024", "90 epochs"),
    "daffnet": _Paper("DaffNet", 32.4, "ResNet-101", "2,975 at 2048x1024", "55,500 steps of 16, four RTX 2080 Ti"),
    "gmis": _Paper(
        "GMIS", 34.1, "two ResNet-101", "14,178 patches of 2,975 at 2048x1024, and coarse labels",
        "120,000 steps of 64, four P40",
    ),
}  # fmt: skip
_OTHERS = "another backend rounds otherwise, which moves AP by up to some tenths from what the cards say."
_DIFFERENT = "What the models here are beside those of the papers; the method is the same."


def write_instance_page(
    out: Path, models: Sequence[str], data: Path, cities: str = HELD_OUT, limit: int | None = None
) -> Path:
    """Score models, with true maps and in their ablations, and write the page.

    Args:
        out: folder of the page.
        models: bundled models or folders.
        data: see :func:`rtseg.lab.scores.instances.evaluate.evaluate_instances`.
        cities: likewise.
        limit: likewise.

    Returns:
        The page's path.
    """
    scored: list[tuple[ModelCard, InstanceEvaluation]] = []
    backends: set[str] = set()
    for name in models:
        pipeline = load(name)
        has_maps = pipeline.card.grouping.method != "solo"
        found = evaluate_instances(
            pipeline,
            data,
            cities=cities,
            limit=limit,
            oracles=ORACLES if has_maps else ("ranking",),
            ablation=ablates(pipeline.card),
        )
        scored.append((pipeline.card, found))
        backends.add(pipeline.backend["backend"])
        pipeline.close()
    told = f"{_INTRODUCTION} The networks ran on {', '.join(sorted(backends))}; {_OTHERS}"
    parts = ["# Instance models: what they score", told, _overview(scored)]
    parts += ["## What differs from the papers", _DIFFERENT, _differences([card for card, _ in scored])]
    for card, found in scored:
        parts += [f"## {card.name}", f"{card.summary}. {' '.join(notes(found))}"]
        for title, header, rows in instance_tables(found):
            parts.append(f"### {title}")
            if said := {"With true maps": _TRUE_MAPS, "Ablation": _ABLATION}.get(title):
                parts.append(said)
            parts.append(markdown_table(header, rows))
    out.mkdir(parents=True, exist_ok=True)
    return write_page(out / "instances.md", "rtseg lab instance-page", parts, _ONE_MODEL)


def _overview(scored: Sequence[tuple[ModelCard, InstanceEvaluation]]) -> str:
    rows = []
    for card, found in scored:
        ap, ap50 = found.scores.ap
        shares = [f"{100 * share:.1f}" for share in (ap, ap50, found.scores.panoptic, found.scores.agnostic.ap)]
        paper = "{}: {}".format(*_PAPERS[card.family][:2]) if card.family in _PAPERS else "-"
        rows.append([card.name, f"{card.input.width}x{card.input.height}", *shares, paper])
    return markdown_table(("model", "input", "AP", "AP50", "PQ", "one class AP", "the paper's AP"), rows)


def _differences(cards: Sequence[ModelCard]) -> str:
    lines: list[str] = []
    for card in cards:
        if paper := _PAPERS.get(card.family):
            lines.append(f"- {paper.name}, the paper's: {paper.network}; {paper.pictures}; {paper.training}")
        notes = card.training.notes.split(";")[0].split(".")[0]
        lines.append(f"- {card.name}: " + "; ".join([card.summary, *card.training.data, notes]))
    return "\n".join(dict.fromkeys(lines))
