"""The ablation of table 1a: tags at random, by attention, by graph partition without and with noise filtering.

Beside the paper's ways, whose probabilities are the attention's, stand those that labels are made with: by the
classifier of regions, alone and in the graph partition.

The paper scores the segmentation network trained on each; here the tags themselves are compared with the truth, which
takes seconds and shows what the network would learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.lab.weak.keywords.tag_inputs import TagInputs
from rtseg.lab.weak.tags.assignment import assign_tags, count_kept

_DRAWS = 50  # of random tags


@dataclass(frozen=True)
class AblationRow:
    """How good one way of assigning tags is; shares in [0, 1], NaN of nothing.

    Attributes:
        method: its name.
        correct: instances tagged as they are, rejected noise among them.
        objects: objects (not noise) with the right tag.
        ambiguous: the same, of frames with two keywords or more.
        by_class: the same as `objects`, averaged over the classes.
        precision: tagged instances whose tag is right: how clean the labels are.
        rejected: instances without a tag.
        noise: how many of these are noise.
        paper: the paper's mIoU in % on VOC and on VOC with simple ImageNet, of networks trained on such labels.
    """

    method: str
    correct: float
    objects: float
    ambiguous: float
    by_class: float
    precision: float
    rejected: int
    noise: int
    paper: tuple[float, float] | None


def ablate(inputs: TagInputs, truth: NDArray[np.integer], beta: float, retention: float) -> list[AblationRow]:
    """Assign tags in the four ways of table 1a, by attention with as many rejected, and with the classifier of regions.

    Args:
        inputs: of a labelling run.
        truth: (n,) true class of each instance, -1 for noise.
        beta: weight of the probabilities.
        retention: ratio r of the instances kept with filtering.
    """
    allowed = inputs.allowed
    rng = np.random.default_rng(0)
    draws = [_score("random", _random_tags(allowed, rng), truth, allowed, (56.4, 61.3)) for _ in range(_DRAWS)]
    attention = np.where(allowed, inputs.attention, -1.0)
    tags = attention.argmax(1).astype(np.int32)
    filtered = tags.copy()
    filtered[np.argsort(attention.max(1), kind="stable")[: len(tags) - count_kept(len(tags), retention)]] = -1

    def partition(probabilities: NDArray[np.float64], ratio: float) -> NDArray[np.int32]:
        return assign_tags(inputs.edges, inputs.weights, probabilities, allowed, beta, ratio).tags

    regions = np.where(allowed, inputs.probabilities, -1.0).argmax(1)
    ways: list[tuple[str, NDArray[np.integer], tuple[float, float] | None]] = [
        ("attention", tags, (62.0, 62.7)),
        ("attention + filtering", filtered, None),
        ("graph partition", partition(inputs.attention, 1.0), (64.0, 64.9)),
        ("graph partition + filtering", partition(inputs.attention, retention), (64.5, 65.6)),
        ("regions", regions, None),
        ("regions, graph partition", partition(inputs.probabilities, 1.0), None),
        ("regions, graph partition + filtering", partition(inputs.probabilities, retention), None),
    ]
    return [_mean(draws), *(_score(name, assigned, truth, allowed, paper) for name, assigned, paper in ways)]


def ablation_table(rows: Sequence[AblationRow]) -> Table:
    """The rows for a terminal, beside the paper's figures."""
    table = Table(title="Tags compared with the truth (%), and the paper's mIoU after training (%)")
    for name in HEADER:
        table.add_column(name, justify="left" if name == HEADER[0] else "right")
    for row in rows:
        table.add_row(*ablation_cells(row))
    return table


HEADER = ("method", "correct", "objects", "2+ keywords", "class mean", "label precision", "rejected", "of them noise",
          "paper VOC", "paper VOC+SI")  # fmt: skip


def ablation_cells(row: AblationRow) -> list[str]:
    """The cells of a row under :data:`HEADER`."""
    shares = (row.correct, row.objects, row.ambiguous, row.by_class, row.precision)
    paper = [f"{value:.1f}" for value in row.paper] if row.paper else ["-", "-"]
    return [row.method, *(_percent(share) for share in shares), str(row.rejected), str(row.noise), *paper]


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def _random_tags(allowed: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int32]:
    return np.where(allowed, rng.random(allowed.shape), -1.0).argmax(1).astype(np.int32)


def _score(
    method: str,
    tags: NDArray[np.integer],
    truth: NDArray[np.integer],
    allowed: NDArray[np.bool_],
    paper: tuple[float, float] | None,
) -> AblationRow:
    right, objects, tagged = tags == truth, truth >= 0, tags >= 0
    return AblationRow(
        method,
        _share(right),
        _share(right[objects]),
        _share(right[objects & (allowed.sum(1) > 1)]),
        float(np.mean([_share(right[truth == c]) for c in np.unique(truth[objects])])) if objects.any() else np.nan,
        _share(right[tagged]),
        int((~tagged).sum()),
        int((~tagged & ~objects).sum()),
        paper,
    )


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _mean(rows: Sequence[AblationRow]) -> AblationRow:
    names = ("correct", "objects", "ambiguous", "by_class", "precision")
    means: dict[str, Any] = {name: float(np.mean([getattr(row, name) for row in rows])) for name in names}
    return replace(rows[0], **means)
