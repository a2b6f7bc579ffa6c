"""Medians and other numbers by their order, for compiled loops; NumPy's own sorts take seconds to compile."""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled_in_place


@compiled_in_place
def select(values, at):  # type: ignore[no-untyped-def]
    """The number that would be at `at` if the values, one at least, were sorted.

    Changes their order: none greater is before it then, none less after it.
    """
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if at <= j:
            high = j
        elif at >= i:
            low = i
        else:
            break
    return values[at]


@compiled_in_place
def greatest(values):  # type: ignore[no-untyped-def]
    """Of one value at least."""
    found = values[0]
    for value in values:
        found = max(found, value)
    return found


@compiled_in_place
def median(values):  # type: ignore[no-untyped-def]
    """Of numbers of float32, which may be kept in float64, as NumPy's: NaN of none; changes their order."""
    middle = len(values) // 2
    if not len(values):
        return np.nan
    upper = np.float64(select(values, middle))
    if len(values) % 2:
        return upper
    return np.float64(np.float32((greatest(values[:middle]) + upper) / 2))
