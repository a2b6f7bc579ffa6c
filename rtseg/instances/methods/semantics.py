"""Class probabilities: from logits, and what they say of instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.errors import GroupingError
from rtseg.grouping import GroupedInstances
from rtseg.ops.logistic import softmax


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over channels of (C, h, w).

    Raises:
        GroupingError: on values that are not finite.
    """
    values = np.empty(logits.shape, np.float32)
    rows = values.reshape(len(values), -1)
    if not softmax(np.ascontiguousarray(logits, np.float32).reshape(rows.shape), rows):
        raise GroupingError("expected finite semantic maps, got NaN or infinite values; check the network's weights")
    return values


def foreground_guide(semantic: NDArray[np.floating]) -> NDArray[np.float32]:
    """Background and the most probable class, (2, h, w), of probabilities (1 + C, h, w)."""
    guide = np.empty((2, *semantic.shape[1:]), np.float32)
    _guide(np.ascontiguousarray(semantic, np.float32).reshape(len(semantic), -1), guide.reshape(2, -1))
    return guide


@compiled_in_place
def _guide(semantic, guide):  # type: ignore[no-untyped-def]
    for i in range(semantic.shape[1]):
        guide[0, i], guide[1, i] = semantic[0, i], semantic[1, i]
    for c in range(2, len(semantic)):
        for i in range(semantic.shape[1]):
            guide[1, i] = max(guide[1, i], semantic[c, i])


def as_classes(found: GroupedInstances) -> GroupedInstances:
    """Semantic channels to indices of the card's classes."""
    return GroupedInstances(found.labels, found.class_ids - np.int32(1), found.scores)
