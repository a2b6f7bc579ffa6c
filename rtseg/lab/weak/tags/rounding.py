"""From a fractional x to tags: rounding, then moves of one and of two instances that keep the number of tags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.lab.weak.tags.program import TagProgram

_PASSES = 50


@compiled
def _best_slots(x, gains, vertex_slots):  # type: ignore[no-untyped-def]
    """For each instance its slot of the largest x (ties: of the larger gain), or -1, and its sum of x."""
    n = len(vertex_slots) - 1
    best = np.full(n, -1, np.int32)
    total = np.zeros(n)
    for j in range(n):
        for s in range(vertex_slots[j], vertex_slots[j + 1]):
            total[j] += x[s]
            b = best[j]
            if b < 0 or x[s] > x[b] or (x[s] == x[b] and gains[s] > gains[b]):
                best[j] = s
    return best, total


@compiled(inline="always")
def _spread(s, sign, first, second, weights, slot_pairs, pairs, support):  # type: ignore[no-untyped-def]
    """Slot s is taken (sign 1) or left (-1): the slots it is paired with gain or lose the weight."""
    for at in range(slot_pairs[s], slot_pairs[s + 1]):
        p = pairs[at]
        other = second[p] if first[p] == s else first[p]
        support[other] += sign * weights[p]


@compiled
def _improve(scores, first, second, weights, vertex_slots, slot_pairs, pairs, chosen, passes):  # type: ignore[no-untyped-def]  # noqa: C901
    """Move single instances to better tags, and exchange a tagged for an untagged one, while the objective grows."""
    n = len(chosen)
    support = scores.copy()  # what a slot is worth beside the others as they are chosen
    scale = 0.0
    for s in range(len(scores)):
        scale = max(scale, abs(scores[s]))
    for p in range(len(weights)):
        scale = max(scale, weights[p])
    least = 1e-12 * scale + 1e-300
    for j in range(n):
        if chosen[j] >= 0:
            _spread(chosen[j], 1.0, first, second, weights, slot_pairs, pairs, support)
    for _ in range(passes):
        changed = False
        for j in range(n):
            here = chosen[j]
            if here < 0:
                continue
            best = here
            for s in range(vertex_slots[j], vertex_slots[j + 1]):
                if support[s] > support[best] + least:
                    best = s
            if best != here:
                _spread(here, -1.0, first, second, weights, slot_pairs, pairs, support)
                _spread(best, 1.0, first, second, weights, slot_pairs, pairs, support)
                chosen[j] = best
                changed = True
        for _ in range(n):
            worst = -1
            for j in range(n):
                if chosen[j] >= 0 and (worst < 0 or support[chosen[j]] < support[chosen[worst]]):
                    worst = j
            if worst < 0:
                break
            left = chosen[worst]
            value = support[left]
            chosen[worst] = -1
            _spread(left, -1.0, first, second, weights, slot_pairs, pairs, support)
            best = left
            newcomer = worst
            for j in range(n):
                if chosen[j] < 0:
                    for s in range(vertex_slots[j], vertex_slots[j + 1]):
                        if support[s] > support[best] + least:
                            best = s
                            newcomer = j
            chosen[newcomer] = best
            _spread(best, 1.0, first, second, weights, slot_pairs, pairs, support)
            if support[best] <= value + least:
                break
            changed = True
        if not changed:
            break


def round_relaxation(program: TagProgram, x: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.int32]:
    """(n,) chosen slots, exactly ``program.kept`` of them, near a fractional x and no worse than their neighbors.

    Args:
        program: what x solves.
        x: (s,) fractional solution.
        gains: (s,) scores of the slots with the pairs' weights split; they break the ties of x.
    """
    best, total = _best_slots(x, gains, program.vertex_slots)
    usable = np.flatnonzero(best >= 0)
    order = np.lexsort((gains[best[usable]], total[usable]))
    keep = usable[order[len(order) - program.kept :]]
    chosen = np.full(program.vertices, -1, np.int32)
    chosen[keep] = best[keep]
    p = program
    _improve(
        p.scores, p.pair_first, p.pair_second, p.pair_weights, p.vertex_slots, p.slot_pairs, p.pairs, chosen, _PASSES
    )
    return chosen
