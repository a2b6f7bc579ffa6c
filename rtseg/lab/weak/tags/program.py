"""Tag assignment (eq 8) as a sparse program: only the tags that keywords allow, only the edges that can pay.

A *slot* is one allowed tag of one instance, the x_ij that may be 1. A *pair* is an edge and a tag that both of its ends
may take: x_i x_j w. Weights are not negative, so x_i x_j = min(x_i, x_j) loses nothing on the way to the linear
relaxation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled

NOISE = -1


@dataclass(frozen=True)
class TagProgram:
    """Maximise ``scores @ x + sum(pair_weights * min(x[pair_first], x[pair_second]))``.

    Subject to: x is 0 or 1, at most one slot of an instance, exactly `kept` slots in all.

    Attributes:
        kept: number of instances that get a tag.
        vertex_slots: (n + 1,) int32; the slots of instance j are ``vertex_slots[j]`` to ``vertex_slots[j + 1]``.
        slot_vertex, slot_tag: (s,) int32.
        scores: (s,) float64, beta times the slot's probability.
        pair_first, pair_second: (p,) int32 slots; pair_weights: (p,) float64, positive.
        slot_pairs: (s + 1,) int32; the pairs of slot s are ``pairs[slot_pairs[s]:slot_pairs[s + 1]]``.
        pairs: (2 p,) int32.
    """

    kept: int
    vertex_slots: NDArray[np.int32]
    slot_vertex: NDArray[np.int32]
    slot_tag: NDArray[np.int32]
    scores: NDArray[np.float64]
    pair_first: NDArray[np.int32]
    pair_second: NDArray[np.int32]
    pair_weights: NDArray[np.float64]
    slot_pairs: NDArray[np.int32]
    pairs: NDArray[np.int32]

    @property
    def vertices(self) -> int:
        return len(self.vertex_slots) - 1

    def tags(self, chosen: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n,) tags of the chosen slots; a slot of -1 is noise."""
        return np.where(chosen >= 0, np.append(self.slot_tag, NOISE)[chosen], NOISE).astype(np.int32)

    def objective(self, chosen: NDArray[np.int32]) -> float:
        """Value of eq 8 for one chosen slot, or -1, for each instance."""
        x = np.zeros(len(self.scores), bool)
        x[chosen[chosen >= 0]] = True
        both = x[self.pair_first] & x[self.pair_second]
        return float(self.scores[x].sum() + self.pair_weights[both].sum())


@compiled
def _join_slots(edges, weights, vertex_slots, slot_tag, first, second, pair_weights):  # type: ignore[no-untyped-def]
    """Write the slots of equal tag at both ends of each edge, or only count them while `first` is empty."""
    count = 0
    write = len(first) > 0
    for e in range(len(edges)):
        if weights[e] == 0:
            continue
        a, a_end = vertex_slots[edges[e, 0]], vertex_slots[edges[e, 0] + 1]
        b, b_end = vertex_slots[edges[e, 1]], vertex_slots[edges[e, 1] + 1]
        while a < a_end and b < b_end:
            if slot_tag[a] < slot_tag[b]:
                a += 1
            elif slot_tag[a] > slot_tag[b]:
                b += 1
            else:
                if write:
                    first[count], second[count], pair_weights[count] = a, b, weights[e]
                count += 1
                a += 1
                b += 1
    return count


@compiled
def _list_pairs(first, second, slots):  # type: ignore[no-untyped-def]
    """The pairs of each slot, as offsets and a list."""
    offsets = np.zeros(slots + 1, np.int32)
    for p in range(len(first)):
        offsets[first[p] + 1] += 1
        offsets[second[p] + 1] += 1
    for s in range(slots):
        offsets[s + 1] += offsets[s]
    at = offsets[:-1].copy()
    pairs = np.empty(2 * len(first), np.int32)
    for p in range(len(first)):
        for s in (first[p], second[p]):
            pairs[at[s]] = p
            at[s] += 1
    return offsets, pairs


def build_program(
    edges: NDArray[np.int32],
    weights: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    beta: float,
    kept: int,
) -> TagProgram:
    """Write checked inputs of :func:`rtseg.lab.weak.assign_tags` as a program."""
    slot_vertex, slot_tag = (index.astype(np.int32) for index in np.nonzero(allowed))
    vertex_slots = np.zeros(len(allowed) + 1, np.int32)
    np.cumsum(np.bincount(slot_vertex, minlength=len(allowed)), out=vertex_slots[1:])
    scores = beta * probabilities[slot_vertex, slot_tag]

    nothing = np.empty(0, np.int32)
    count = _join_slots(edges, weights, vertex_slots, slot_tag, nothing, nothing, np.empty(0, np.float64))
    first, second, pair_weights = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float64)
    if count:
        _join_slots(edges, weights, vertex_slots, slot_tag, first, second, pair_weights)
    slot_pairs, pairs = _list_pairs(first, second, len(scores))
    return TagProgram(kept, vertex_slots, slot_vertex, slot_tag, scores, first, second, pair_weights, slot_pairs, pairs)
