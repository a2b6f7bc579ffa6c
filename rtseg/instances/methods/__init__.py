"""Grouping methods of instance models: one file each, and one entry here."""

from __future__ import annotations

from typing import Any

from rtseg.instances.methods import affinity_union, cascade_gaec, coloring, graph_merge, semantic, solo, yolo_seg
from rtseg.instances.methods.method import Method
from rtseg.runtime.card import ModelCard

METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        coloring.METHOD,
        graph_merge.METHOD,
        cascade_gaec.METHOD,
        affinity_union.METHOD,
        solo.METHOD,
        yolo_seg.METHOD,
        semantic.METHOD,
    )
}


def method_of(card: ModelCard) -> Method[Any]:
    """Find the method that a card asks for.

    Raises:
        ModelError: if there is no such method.
    """
    return card.method_of(METHODS)
