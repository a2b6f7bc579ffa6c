"""Whether an adapted model is better than the one it was made of: measures, how sure they are, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtseg.counted import counted
from rtseg.lab.scores.lanes.culane import CulaneScore

_DRAWS = 2000
_ONE_SIDED = 5.0  # percent: a difference counts when it is surely above this quantile of what it may be
MARGIN = 0.02
"""How much of the F1 on other roads, or on labelled frames, may be lost at most, surely."""
LEAST_LINES = 20  # fewer lines on the frames kept back tell nothing


@dataclass(frozen=True)
class Comparison:
    """Counts of two models on the same pictures.

    Attributes:
        name: of the pictures.
        before: of each picture, of the model as it was.
        after: of the adapted one.
    """

    name: str
    before: tuple[CulaneScore, ...]
    after: tuple[CulaneScore, ...]

    @property
    def totals(self) -> tuple[CulaneScore, CulaneScore]:
        """Sums over the pictures, before and after."""
        return sum(self.before, CulaneScore()), sum(self.after, CulaneScore())

    @property
    def gain(self) -> float:
        """By how much the F1 grew."""
        before, after = self.totals
        return after.f1 - before.f1

    @property
    def lines(self) -> int:
        """Lines that were to be found."""
        return self.totals[0].true_positives + self.totals[0].false_negatives

    @property
    def least_gain(self) -> float:
        """What the gain is above with 95 % certainty, as other pictures of the same kind may come (bootstrap)."""
        ours, theirs = (_table(scores) for scores in (self.before, self.after))
        if not len(ours):
            return float("-inf")
        chosen = np.random.default_rng(0).integers(0, len(ours), (_DRAWS, len(ours)))
        gains = _f1(theirs[chosen].sum(axis=1)) - _f1(ours[chosen].sum(axis=1))
        return float(np.percentile(gains, _ONE_SIDED))


@dataclass(frozen=True)
class Verdict:
    """Whether an adapted model is better, and why.

    Attributes:
        better: whether it is kept.
        reason: in one sentence.
        gains: whether it surely gains on the camera's own frames, whatever is lost elsewhere.
    """

    better: bool
    reason: str
    gains: bool = False


def conclude(held_back: Comparison, old_roads: Comparison, labelled: Comparison | None = None) -> Verdict:
    """Say whether the adapted model is better.

    It is if it finds surely more of what should be found on the frames kept back, or on the labelled ones, and loses
    surely no more than `MARGIN` on neither, nor on rendered roads.

    Args:
        held_back: on frames of the recordings that were kept back, against lines that two witnesses tell.
        old_roads: on rendered roads, against the truth.
        labelled: on frames with labels of the user's own.
    """
    if held_back.lines < LEAST_LINES and labelled is None:
        return Verdict(
            False,
            f"only {counted(held_back.lines, 'line')} known on the frames kept back, which says nothing: "
            "record more driving on marked roads, or give labelled frames with --labels",
        )
    own = [held_back, *([labelled] if labelled else [])]
    best = max(own, key=lambda one: one.least_gain)
    gains = best.least_gain > 0
    for one in (old_roads, *own):
        if one.least_gain < -MARGIN:
            return Verdict(
                False,
                f"F1 on {one.name} goes from {_percent(one.totals[0].f1)} to {_percent(one.totals[1].f1)}, and may "
                f"fall by {_percent(-one.least_gain)}, more than {_percent(MARGIN)}",
                gains,
            )
    change = (
        f"F1 on {best.name} goes from {_percent(best.totals[0].f1)} to {_percent(best.totals[1].f1)} "
        f"({best.gain * 100:+.1f} points, surely more than {best.least_gain * 100:+.1f})"
    )
    return Verdict(gains, change if gains else f"it is not surely better: {change}", gains)


def _table(scores: Sequence[CulaneScore]) -> np.ndarray:
    counts = [(one.true_positives, one.false_positives, one.false_negatives) for one in scores]
    return np.array(counts, np.float64).reshape(-1, 3)


def _f1(counts: np.ndarray) -> np.ndarray:
    right, wrong, missed = counts.T
    return np.where(right > 0, 2 * right / np.maximum(2 * right + wrong + missed, 1), 0.0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
