"""Class probabilities: from logits, and what they say of instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError
from rtseg.grouping import GroupedInstances


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over channels of (C, h, w).

    Raises:
        GroupingError: on values that are not finite.
    """
    values = logits - logits.max(axis=0)
    np.exp(values, out=values)
    total = values.sum(axis=0)
    if not np.isfinite(total).all():
        raise GroupingError("expected finite semantic maps, got NaN or infinite values; check the network's weights")
    values /= total
    return values


def foreground_guide(semantic: NDArray[np.floating]) -> NDArray[np.float32]:
    """Background and the most probable class, (2, h, w), of probabilities (1 + C, h, w)."""
    return np.stack([semantic[0], semantic[1:].max(axis=0)]).astype(np.float32, copy=False)


def as_classes(found: GroupedInstances) -> GroupedInstances:
    """Semantic channels to indices of the card's classes."""
    return GroupedInstances(found.labels, found.class_ids - np.int32(1), found.scores)
