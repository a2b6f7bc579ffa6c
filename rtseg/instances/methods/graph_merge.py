"""GMIS: graph merge of 56 affinities (sections 3.4 and 4)."""

from __future__ import annotations

import numpy as np

from rtseg.errors import ModelError
from rtseg.grouping import GMIS_OFFSETS, GraphMergeSettings, graph_merge
from rtseg.grouping.graph_merge import GraphMergeTricks
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import pixels_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, probabilities
from rtseg.instances.methods.warm_up import paint_affinities, paint_channels
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps


class GraphMergeParameters(GraphMergeTricks, GroupingParameters):
    """The tricks of graph merge, and between what classes.

    Attributes:
        super_classes: groups of class names, or of semantic channels (1 + index of the class); all in one by default.
    """

    super_classes: tuple[tuple[str | int, ...], ...] = ()


class GraphMerge:
    """Graph merge with the card's tricks and thresholds."""

    def __init__(self, card: ModelCard, parameters: GraphMergeParameters) -> None:
        wanted = {"semantic": 1 + len(card.classes), "affinity": len(GMIS_OFFSETS)}
        self._semantic, self._affinity = wanted_outputs(card, wanted)
        self._settings = GraphMergeSettings(
            **parameters.model_dump(include=set(GraphMergeTricks.model_fields)),
            super_classes=_super_classes(parameters.super_classes, card),
            min_pixels=pixels_of(parameters.min_area, self._semantic.stride),
        )

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        semantic = probabilities(maps[self._semantic.name][0])
        found = graph_merge(maps[self._affinity.name][0], semantic, self._settings)
        return MapInstances(as_classes(found), np.stack([semantic[0], semantic[1:].sum(axis=0)]))


def _super_classes(groups: tuple[tuple[str | int, ...], ...], card: ModelCard) -> tuple[tuple[int, ...], ...]:
    if not groups:
        return (tuple(range(1, len(card.classes) + 1)),)
    channels: dict[str | int, int] = {name: 1 + i for i, name in enumerate(card.classes)}
    known = dict(channels)
    known.update({channel: channel for channel in channels.values()})
    chosen = tuple(tuple(known.get(item, 0) for item in group) for group in groups)
    if sorted(channel for group in chosen for channel in group) != sorted(channels.values()):
        raise ModelError(
            f"the card of {card.name} does not fit: grouping.parameters.super_classes: expected each class once "
            f"({', '.join(card.classes)}), got {groups}"
        )
    return chosen


METHOD = Method(
    name="graph_merge",
    parameters=GraphMergeParameters,
    outputs={"semantic": paint_channels, "affinity": paint_affinities},
    grouping=GraphMerge,
)
