"""The linear relaxation of tag assignment: a proven upper bound, and a fractional x to round.

With weights w >= 0, w min(x_u, x_v) is the least of a x_u + (w - a) x_v over 0 <= a <= w. So any *split* a of every
pair's weight over its two slots turns the program into one without pairs, whose best value is easily found and never
lies below that of eq 8: give each instance its best slot's score, and sum the `kept` largest. That sum is the bound, a
few lines to check, whatever a is; its least value over a is that of the relaxation of eq 8.

The saddle point min_a max_x is found by primal-dual hybrid gradient steps (Chambolle and Pock 2011; diagonal steps of
Pock and Chambolle 2011). On similarity graphs the relaxation is tight, or nearly: the rounded x mostly meets the bound.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.lab.weak.tags.program import TagProgram

_STEP = 2.0  # primal step, in units of one over the mean weight; between 1 and 10 it changes little


@compiled
def _split_scores(program_scores, first, second, weights, split, out):  # type: ignore[no-untyped-def]
    """Scores of the slots once every pair's weight is split over its ends."""
    for s in range(len(out)):
        out[s] = program_scores[s]
    for p in range(len(first)):
        out[first[p]] += split[p]
        out[second[p]] += weights[p] - split[p]


@compiled(inline="always")
def _project(v, begin, end):  # type: ignore[no-untyped-def]
    """Project v[begin:end] onto {x >= 0, sum x <= 1} in place."""
    total = 0.0
    top = 0.0
    for s in range(begin, end):
        v[s] = max(v[s], 0.0)
        total += v[s]
        top = max(top, v[s])
    if total <= 1.0:
        return
    # The nearest point with sum 1 does not change when all entries are moved by the same length: from the largest
    # down, no digit is lost. Entries that fall to zero leave the sum; each pass drops at least one or ends (Michelot
    # 1986). An entry on the edge may come back by rounding, which ends it too; the largest always stays.
    free = end - begin
    total = 0.0
    for s in range(begin, end):
        v[s] -= top
        total += v[s]
    while True:
        shift = (total - 1.0) / free
        total = 0.0
        count = 0
        for s in range(begin, end):
            if v[s] > shift:
                total += v[s]
                count += 1
        if count >= free:
            break
        free = count
    for s in range(begin, end):
        v[s] = v[s] - shift if v[s] > shift else 0.0


@compiled
def _find_price(v, steps, vertex_slots, kept, price):  # type: ignore[no-untyped-def]
    """The price of a tag at which `kept` instances take one: the multiplier of sum x = kept in the projection of v.

    The number taken falls piecewise linearly in the price: Newton steps, and halving where they leave the bracket.
    """
    n = len(vertex_slots) - 1
    low, high = np.inf, -np.inf
    for j in range(n):
        begin, end = vertex_slots[j], vertex_slots[j + 1]
        if begin < end:
            best = v[begin:end].max()
            low = min(low, (best - 1.0) / steps[j])
            high = max(high, best / steps[j])
    for _ in range(100):
        if not low < price < high:
            price = 0.5 * (low + high)
            if not low < price < high:
                break
        total = 0.0
        slope = 0.0
        for j in range(n):
            shift = steps[j] * price
            taken = 0.0
            free = 0
            for s in range(vertex_slots[j], vertex_slots[j + 1]):
                if v[s] > shift:
                    taken += v[s] - shift
                    free += 1
            if taken < 1.0:
                total += taken
                slope += steps[j] * free
            else:
                total += 1.0
        excess = total - kept
        if abs(excess) <= 1e-9 * kept:
            break
        if excess > 0.0:
            low = price
        else:
            high = price
        price = price + excess / slope if slope > 0.0 else 0.5 * (low + high)
    return price


@compiled
def _iterate(scores, first, second, weights, vertex_slots, steps, split_step, kept, x, split, price, iterations):  # type: ignore[no-untyped-def]
    """Primal-dual steps on `x` and `split`, in place. Returns the price of a tag, a good start for the next call."""
    n = len(vertex_slots) - 1
    ahead = np.empty_like(x)
    for _ in range(iterations):
        _split_scores(scores, first, second, weights, split, ahead)
        for j in range(n):
            for s in range(vertex_slots[j], vertex_slots[j + 1]):
                ahead[s] = x[s] + steps[j] * ahead[s]
        price = _find_price(ahead, steps, vertex_slots, kept, price)
        for j in range(n):
            begin, end = vertex_slots[j], vertex_slots[j + 1]
            for s in range(begin, end):
                ahead[s] -= steps[j] * price
            _project(ahead, begin, end)
        for s in range(len(x)):
            moved = ahead[s]
            ahead[s] = 2.0 * moved - x[s]
            x[s] = moved
        for p in range(len(first)):
            a = split[p] - split_step * (ahead[first[p]] - ahead[second[p]])
            split[p] = min(max(a, 0.0), weights[p])
    return price


@compiled
def _best_gains(gains, vertex_slots):  # type: ignore[no-untyped-def]
    """The largest gain of every instance that has a slot."""
    n = len(vertex_slots) - 1
    best = np.empty(n)
    count = 0
    for j in range(n):
        if vertex_slots[j] < vertex_slots[j + 1]:
            best[count] = gains[vertex_slots[j] : vertex_slots[j + 1]].max()
            count += 1
    return best[:count]


def split_bound(program: TagProgram, split: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Upper bound of eq 8 that a split of the weights proves.

    Args:
        program: whose pairs are split.
        split: (p,) float64, in [0, weight]: the part of each pair's weight that goes to its first slot.

    Returns:
        The bound, and the (s,) float64 gains of the slots: scores with the split weights added.
    """
    gains = np.empty_like(program.scores)
    _split_scores(program.scores, program.pair_first, program.pair_second, program.pair_weights, split, gains)
    best = _best_gains(gains, program.vertex_slots)
    out = len(best) - program.kept
    best.partition(max(out - 1, 0))
    return float(best[out:].sum()), gains


class Relaxation:
    """The state of the iteration.

    Attributes:
        x: (s,) float64, the present fractional choice.
        gains: (s,) float64, gains of the slots under the split that proves the bound.
        bound: proven upper bound of eq 8, the best so far.
    """

    def __init__(self, program: TagProgram) -> None:
        p = program
        self.x = np.zeros(len(p.scores))
        self._program = p
        self._split = p.pair_weights / 2
        self.bound, self.gains = split_bound(p, self._split)
        step = _STEP / p.pair_weights.mean() if len(p.pair_weights) else 1.0
        self._split_step = 0.5 / step  # each pair has two ends: the steps' product times the matrix' square stays <= 1
        degrees = np.ones(p.vertices)
        np.maximum.at(degrees, p.slot_vertex, np.diff(p.slot_pairs))
        self._steps = step / degrees
        best = np.sort(_best_gains(self.gains, p.vertex_slots))
        self._price = float(best[len(best) - p.kept])

    def advance(self, iterations: int) -> None:
        """Run primal-dual steps; `x` moves on, the bound only falls."""
        p = self._program
        self._price = _iterate(
            p.scores, p.pair_first, p.pair_second, p.pair_weights, p.vertex_slots, self._steps, self._split_step,
            float(p.kept), self.x, self._split, self._price, iterations,
        )  # fmt: skip
        bound, gains = split_bound(p, self._split)
        if bound < self.bound:
            self.bound, self.gains = bound, gains
