"""Cards written before outputs said what they mean: read for one more release."""

from __future__ import annotations

import re
from typing import Any

_KINDS = {"cate": "category", "logits": "colors"}


def with_kinds(card: Any) -> Any:
    """Give the outputs of a card the kinds that their names stood for; what is no such card comes back as it is."""
    outputs = card.get("outputs") if isinstance(card, dict) else None
    if not isinstance(outputs, list | tuple):
        return card
    if any(not isinstance(output, dict) or "kind" in output or "name" not in output for output in outputs):
        return card
    kinds = [re.sub(r"_s\d+$", "", str(output["name"])) for output in outputs]
    kinds = [_KINDS.get(kind, kind) for kind in kinds]
    if card.get("task") == "lanes" and kinds:
        kinds[0] = "colors"  # whatever its name
    return {**card, "outputs": [{**output, "kind": kind} for output, kind in zip(outputs, kinds, strict=True)]}
