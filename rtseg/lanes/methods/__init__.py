"""Methods of lane models: one file each, and one entry here."""

from __future__ import annotations

from typing import Any

from rtseg.lanes.methods import colors, lane_map, row_anchor
from rtseg.lanes.methods.method import LaneMethod
from rtseg.runtime.card import ModelCard

METHODS: dict[str, LaneMethod[Any]] = {
    method.name: method for method in (colors.METHOD, lane_map.METHOD, row_anchor.METHOD)
}


def method_of(card: ModelCard) -> LaneMethod[Any]:
    """Find the method that a card asks for.

    Raises:
        ModelError: if there is no such method.
    """
    return card.method_of(METHODS)
