"""Whether confidence means something: how often what claims a confidence is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.report.plots import plot_curves

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Detections with their confidence.

    Attributes:
        confidence: (n,) in [0, 1].
        right: (n,) bool.
        true: how many there were to find.
    """

    confidence: NDArray[np.floating]
    right: NDArray[np.bool_]
    true: int

    def bins(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Mean confidence, share that is right, and count in ten equal bins of confidence; NaN where none falls."""
        index = np.clip((self.confidence * BINS).astype(np.int64), 0, BINS - 1)
        counts = np.bincount(index, minlength=BINS)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(index, self.confidence, BINS) / counts
            share = np.bincount(index, self.right, BINS) / counts
        return mean, share, counts

    @property
    def expected_error(self) -> float:
        """Mean distance of confidence and share of right ones over bins, weighted by count (ECE); NaN without any."""
        mean, share, counts = self.bins()
        known = counts > 0
        return float(np.average(np.abs(mean - share)[known], weights=counts[known])) if known.any() else float("nan")

    @property
    def brier(self) -> float:
        """Mean square of confidence minus right (1) or wrong (0); small is sure and right. NaN without detections."""
        return float(np.mean((self.confidence - self.right) ** 2)) if self.right.size else float("nan")

    def honest_error(self, draws: int = 300) -> tuple[float, float]:
        """What `expected_error` would be by chance, were the confidence honest: its 5th and 95th percentile.

        Of few detections the share that is right differs from the confidence even where that is the true probability.
        """
        rng = np.random.default_rng(0)
        drawn = [
            replace(self, right=rng.random(self.right.size) < self.confidence).expected_error for _ in range(draws)
        ]
        low, high = np.percentile(drawn, [5, 95]) if self.right.size else (float("nan"), float("nan"))
        return float(low), float(high)

    def precision_recall(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Recall and precision of what is at least as confident as each detection, from the most confident on."""
        order = np.argsort(-self.confidence, kind="stable")
        ranked = self.confidence[order]
        right = np.cumsum(self.right[order])
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)
        return right[ends] / max(self.true, 1), right[ends] / (ends + 1)


def plot_reliability(sets: Mapping[str, Reliability]) -> str:
    """Share of right ones against confidence, one curve a set, as SVG."""
    curves = {}
    for name, one in sets.items():
        mean, share, counts = one.bins()
        curves[name] = (mean[counts > 0], share[counts > 0])
    return plot_curves(curves, "confidence", "share that is right", diagonal=True)


def plot_precision_recall(sets: Mapping[str, Reliability]) -> str:
    """Precision against recall, one curve a set, as SVG."""
    return plot_curves({name: one.precision_recall() for name, one in sets.items()}, "recall", "precision")
