"""Percentiles of any number of values in little memory, with an error that is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

ERROR = 0.005
"""Most that a percentile is off, as a share of the value itself."""

_GROWTH = (1 + ERROR) / (1 - ERROR)


class Histogram:
    """Counts positive values in bins that grow with the value; adding two up loses nothing.

    A percentile is off by :data:`ERROR` of the value at most (Masson, Rim and Lee: DDSketch, 2019).
    """

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._zeros = 0
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, values: NDArray[np.floating]) -> None:
        """Add (n,) values of 0 or more; NaN is left out."""
        values = np.asarray(values, np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return
        positive = values[values > 1e-9]
        bins, counts = np.unique(np.ceil(np.log(positive) / np.log(_GROWTH)).astype(int), return_counts=True)
        self._bins.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))
        self._zeros += values.size - positive.size
        self.count += values.size
        self.total += float(values.sum())
        self.largest = max(self.largest, float(values.max()))

    def percentile(self, share: float) -> float:
        """The value below which `share` of 100 lie: one of the values, but for the error; NaN of none."""
        if not self.count:
            return float("nan")
        rank = int(share / 100 * (self.count - 1))
        seen = self._zeros
        if rank < seen:
            return 0.0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if rank < seen:
                return float(2 * _GROWTH**index / (_GROWTH + 1))
        return self.largest
