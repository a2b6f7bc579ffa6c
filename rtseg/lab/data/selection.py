"""A few of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Up to `most` of the items, in their order and evenly from all: the first and the last are among them.

    Example:
        >>> evenly("abcdefg", 3)
        ['a', 'd', 'g']
    """
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[i] for i in chosen]
