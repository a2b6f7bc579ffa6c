"""Other ways to read one network's outputs: oracle rows, and the papers' ablations with the papers' figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rtseg.errors import ConfigError
from rtseg.grouping.graph_merge import GraphMergeTricks
from rtseg.runtime.card import Grouping, ModelCard

ORACLES = ("semantic", "affinity", "ranking")
"""True class maps; true affinities (and embeddings), or colors and centers; scores that rank by IoU with the truth."""


@dataclass(frozen=True)
class PaperScore:
    """What a paper reports on Cityscapes val, in per cent.

    Attributes:
        table: where.
        ap: AP; None where it reports none.
        ap50: AP50 likewise.
    """

    table: str
    ap: float | None = None
    ap50: float | None = None


@dataclass(frozen=True)
class Variant:
    """One row of a table of scores.

    Attributes:
        name: of the row.
        oracles: out of ORACLES.
        change: gives the card to interpret the outputs by; None where one exported network cannot tell.
        paper: the paper's figure.
        reason: why nothing can be measured, where `change` is None.
    """

    name: str
    oracles: tuple[str, ...] = ()
    change: Callable[[ModelCard], ModelCard] | None = field(default=lambda card: card)
    paper: PaperScore = PaperScore("")
    reason: str = ""


AS_IT_IS = Variant("as it is")


def oracle_variants(oracles: Sequence[str]) -> list[Variant]:
    """A row for each oracle and for all their combinations.

    Raises:
        ConfigError: unknown oracle.
    """
    for name in oracles:
        if name not in ORACLES:
            raise ConfigError(f"expected an oracle out of {', '.join(ORACLES)}, got {name!r}")
    chosen = [name for name in ORACLES if name in oracles]
    return [
        Variant(f"true {' and '.join(group)}", group)
        for count in range(1, len(chosen) + 1)
        for group in combinations(chosen, count)
    ]


def ablates(card: ModelCard) -> bool:
    """Whether a paper has an ablation for a card's grouping method."""
    return card.grouping.method in _ABLATIONS


def ablation_variants(card: ModelCard) -> list[Variant]:
    """The rows of the paper's ablation for a card's grouping method.

    Raises:
        ConfigError: no paper has one for it.
    """
    if not ablates(card):
        raise ConfigError(
            f"expected a model grouped by {', '.join(_ABLATIONS)} for an ablation, got {card.grouping.method} "
            f"({card.name})"
        )
    variants = _ABLATIONS[card.grouping.method]
    if card.grouping.method == "cascade_gaec":
        strides = sorted({output.stride for output in card.outputs})
        variants = [*variants, *(_levels(strides[:count]) for count in range(1, len(strides)))]
    return variants


def _with(**parameters: Any) -> Callable[[ModelCard], ModelCard]:
    """Replace grouping parameters, and follow no instance through time."""

    def change(card: ModelCard) -> ModelCard:
        grouping = Grouping(method=card.grouping.method, parameters={**card.grouping.parameters, **parameters})
        return card.model_copy(update={"grouping": grouping})

    return change


def _without(kind: str, **parameters: Any) -> Callable[[ModelCard], ModelCard]:
    def change(card: ModelCard) -> ModelCard:
        outputs = tuple(output for output in card.outputs if output.kind != kind)
        return _with(**parameters)(card.model_copy(update={"outputs": outputs}))

    return change


def _levels(strides: Sequence[int]) -> Variant:
    def change(card: ModelCard) -> ModelCard:
        # A coarser embedding may be that of the finest level.
        kept = tuple(output for output in card.outputs if output.stride in strides or output.kind == "embedding")
        return card.model_copy(update={"outputs": kept})

    return Variant(f"strides {', '.join(map(str, strides))} only", change=change)


def _merge(refine: bool, window: int, partition: bool) -> Callable[[ModelCard], ModelCard]:
    stages = GraphMergeTricks.model_fields["stages"].default
    return _with(stages=stages, areas=True, refine=refine, window=window, partition=partition)


def _scaled_merging(card: ModelCard) -> ModelCard:
    """The paper's 20 px are those of its 2048 px wide frames."""
    return _with(merge_distance=20.0 * card.input.width / 2048)(card)


_paper_coloring = _with(merge_distance=20.0, intersect=True)
_ONE_SIZE = "an exported network takes pictures of one size"
_OTHER_NETWORK = "another network"
_ABLATIONS: dict[str, list[Variant]] = {
    "cascade_gaec": [
        Variant("GAEC, no grouping embedding", (), _without("embedding", final="gaec"), PaperScore("4", 26.6, 46.5)),
        Variant("GAEC, embedding by GAEC", (), _with(final="gaec", beta=0.0), PaperScore("4", 30.4, 49.2)),
        Variant(
            "GAEC, PA-GAEC, GAS", (), _with(final="association", position_threshold=0.5), PaperScore("4", 32.0, 52.0)
        ),
        Variant("GAEC, PA-GAEC", (), _with(final="gaec", position_threshold=0.5), PaperScore("4", 32.4, 53.1)),
        Variant("k = 8, GAS", (), None, PaperScore("2", 29.8, 49.7), _OTHER_NETWORK),
        Variant("k = 16, GAS", (), None, PaperScore("2", 30.2, 50.2), _OTHER_NETWORK),
        Variant("k = 32, GAS", (), None, PaperScore("2", 32.0, 52.0), _OTHER_NETWORK),
    ],
    "graph_merge": [
        Variant("baseline", (), _merge(False, 1, False), PaperScore("2", 18.9)),
        Variant("PAR", (), _merge(True, 1, False), PaperScore("2", 22.8)),
        Variant("PAR, RR", (), None, PaperScore("2", 28.7), _ONE_SIZE),
        Variant("PAR, FLM 2", (), _merge(True, 2, False)),
        Variant("PAR, FLM 4", (), _merge(True, 4, False)),
        Variant("PAR, SCP", (), _merge(True, 1, True)),
        Variant("PAR, FLM 2, SCP", (), _merge(True, 2, True)),
        Variant("PAR, RR, FLM 2", (), None, PaperScore("2", 29.2), _ONE_SIZE),
        Variant("PAR, RR, FLM 4", (), None, PaperScore("2", 27.5), _ONE_SIZE),
        Variant(
            "SCR",
            (),
            None,
            reason="affinities of motorcycles and bicycles are not refined by eq 6 at the last distance",
        ),
        Variant("PAR, RR, FLM 2, SCP", (), None, PaperScore("2", 30.7), _ONE_SIZE),
        Variant("the same at output stride 8", (), None, PaperScore("3", 32.1), _OTHER_NETWORK),
        Variant("the same, flips averaged", (), None, PaperScore("3", 33.5), "flip in the card's grouping does it"),
    ],
    "coloring": [
        Variant("segments never merged by centers", (), _with(merge_distance=0.0)),
        Variant("merged within 20 px", (), _with(merge_distance=20.0), PaperScore("III", 16.0)),
        Variant("merged within 20 px of 2048", (), _scaled_merging),
        Variant("cut to their class, as in the paper", (), _with(intersect=True)),
        Variant("true semantics", ("semantic",), _paper_coloring, PaperScore("III", 28.4)),
        Variant("true ranking", ("ranking",), _paper_coloring, PaperScore("III", 23.0)),
        Variant("true semantics and ranking", ("semantic", "ranking"), _paper_coloring, PaperScore("III", 38.4)),
    ],
}
