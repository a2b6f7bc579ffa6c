"""Salient instances to labels: tags for the instances of a whole training set at once (section 4, eq 6-8).

A tag may only be one of the image's keywords. What counts is how similar the instances of one tag are (the edges of the
similarity graph inside a tag) and how much the attention module believes in each tag; the instances that fit worst are
left without one, as noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.tags.exact import solve_exactly
from rtseg.lab.weak.tags.program import NOISE, TagProgram, build_program
from rtseg.lab.weak.tags.relaxation import Relaxation
from rtseg.lab.weak.tags.rounding import round_relaxation

TagMethod = Literal["auto", "exact", "relaxation"]

_ROUND = 50  # primal-dual steps between two roundings
_MOST_ROUNDS = 40
_PATIENCE = 10  # rounds without progress after which a small gap is left as it is
_SMALL_GAP = 1e-4
_PROVEN = 1e-9  # relative gap that is rounding error of the sums
_EXACT_INSTANCES = 500  # up to here "auto" closes a remaining gap by branch and cut
_EXACT_NODES = 2000


@dataclass(frozen=True)
class TagAssignment:
    """Tags of all instances, and how good they are proven to be.

    Attributes:
        tags: (n,) int32 class of each instance, -1 for noise.
        objective: value of eq 8 for these tags.
        bound: proven upper bound: no tags that respect the keywords and the retention ratio are worth more.
    """

    tags: NDArray[np.int32]
    objective: float
    bound: float

    @property
    def gap(self) -> float:
        """Proven relative gap ``(bound - objective) / bound``; at most 1e-9 means optimal up to rounding of sums."""
        return (self.bound - self.objective) / self.bound if self.bound > 0 else 0.0


def count_kept(instances: int, retention: float) -> int:
    """Number of instances that get a tag: floor(r n) of eq 8.

    A product that only floating point keeps below an integer counts as that integer (0.29 x 100 keeps 29).

    Raises:
        WeakSupervisionError: a retention ratio outside [0, 1].
    """
    if not 0.0 <= retention <= 1.0:
        raise WeakSupervisionError(
            f"expected a retention ratio in [0, 1], got {retention}; the paper keeps 0.95 of the instances"
        )
    return min(instances, math.floor(retention * instances + 1e-9 * max(1.0, instances)))


def assign_tags(
    edges: ArrayLike,
    weights: ArrayLike,
    probabilities: ArrayLike,
    allowed: ArrayLike,
    beta: float = 30.0,
    retention: float = 0.95,
    method: TagMethod = "auto",
) -> TagAssignment:
    """Give each instance one of its image's keywords, or none, so that eq 8 is largest.

    The objective is the sum of the weights of all listed edges whose two ends have the same tag, plus beta times the
    probabilities of the tags given. An undirected edge listed once counts once, as section 4's text defines
    cohesiveness; x' W x with a symmetric W counts it twice, which listing it in both directions gives. Exactly
    ``floor(retention * n)`` instances get a tag (:func:`count_kept`).

    ``"relaxation"`` is for whole training sets: primal-dual steps on the linear relaxation, whose dual proves the
    bound, and rounding; time and memory grow with the number of edges. ``"exact"`` solves the linearised integer
    program with HiGHS until optimality is proven, practical for hundreds of instances. ``"auto"`` is the relaxation,
    whose remaining gap, if any, HiGHS closes for up to 500 instances. All are deterministic.

    Args:
        edges: (m, 2) integer instance indices, in either direction; repeated edges add up.
        weights: (m,) finite similarities >= 0 (eq 5: in [0, 2]).
        probabilities: (n, C) in [0, 1], of the attention module (eq 2).
        allowed: (n, C) bool, the keywords of the instance's image; an instance without one can only be noise.
        beta: weight of the attention, >= 0.
        retention: ratio r of the instances that get a tag, in [0, 1].
        method: "auto", "exact" or "relaxation".

    Raises:
        WeakSupervisionError: inputs of wrong shape, empty, not finite or out of range, a self-loop, or a retention
            ratio that needs more instances than have a keyword.
    """
    if method not in ("auto", "exact", "relaxation"):
        raise WeakSupervisionError(f'expected method "auto", "exact" or "relaxation", got {method!r}')
    checked_allowed, checked_probabilities = _check_instances(probabilities, allowed)
    n = len(checked_allowed)
    checked_edges, checked_weights = _check_edges(edges, weights, n)
    if not (math.isfinite(beta) and beta >= 0):
        raise WeakSupervisionError(f"expected a finite beta >= 0, got {beta}; the paper uses 30")
    kept = count_kept(n, retention)
    taggable = int(checked_allowed.any(axis=1).sum())
    if taggable < kept:
        raise WeakSupervisionError(
            f"a retention ratio of {retention} asks for tags for {kept} of {n} instances, but only {taggable} have a "
            "keyword; add keywords for their images, leave those instances out, or lower the ratio to "
            f"{math.floor(1000 * taggable / n) / 1000:g}"
        )
    if kept == 0:
        return TagAssignment(np.full(n, NOISE, np.int32), 0.0, 0.0)

    program = build_program(checked_edges, checked_weights, checked_probabilities, checked_allowed, beta, kept)
    if method == "exact":
        chosen, bound = solve_exactly(program)
        assert chosen is not None
    else:
        chosen, bound = _solve_relaxation(program)
        if method == "auto" and n <= _EXACT_INSTANCES and not _is_proven(program.objective(chosen), bound):
            chosen, bound = _close_gap(program, chosen, bound)
    objective = program.objective(chosen)
    # The bound is proven in exact arithmetic; where it is met, the two sums may differ in their last digits.
    return TagAssignment(program.tags(chosen), objective, max(bound, objective))


def _is_proven(objective: float, bound: float) -> bool:
    return bound - objective <= _PROVEN * abs(bound)


def _solve_relaxation(program: TagProgram) -> tuple[NDArray[np.int32], float]:
    relaxation = Relaxation(program)
    chosen = round_relaxation(program, relaxation.x, relaxation.gains)
    objective = program.objective(chosen)
    gaps: list[float] = []
    for _ in range(_MOST_ROUNDS):
        if _is_proven(objective, relaxation.bound):
            break
        relaxation.advance(_ROUND)
        rounded = round_relaxation(program, relaxation.x, relaxation.gains)
        value = program.objective(rounded)
        if value > objective:
            chosen, objective = rounded, value
        gaps.append(relaxation.bound - objective)
        stale = len(gaps) > _PATIENCE and gaps[-1] > 0.9 * gaps[-1 - _PATIENCE]
        if stale and gaps[-1] <= _SMALL_GAP * abs(relaxation.bound):
            break
    return chosen, relaxation.bound


def _close_gap(program: TagProgram, chosen: NDArray[np.int32], bound: float) -> tuple[NDArray[np.int32], float]:
    try:
        exact, exact_bound = solve_exactly(program, _EXACT_NODES)
    except WeakSupervisionError:  # highspy is not installed: the answer stands, with its gap
        return chosen, bound
    if exact is not None and program.objective(exact) > program.objective(chosen):
        chosen = exact
    return chosen, min(bound, exact_bound)


def _check_instances(probabilities: ArrayLike, allowed: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    tags = np.asarray(allowed)
    if tags.ndim != 2 or tags.shape[0] == 0 or tags.shape[1] == 0:
        raise WeakSupervisionError(
            f"expected allowed tags of shape (instances, classes) with at least one of each, got {tags.shape}; "
            "an empty set has nothing to assign"
        )
    if tags.dtype != np.bool_:
        raise WeakSupervisionError(f"expected allowed tags as bool, got {tags.dtype}; compare keywords to class names")
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != tags.shape:
        raise WeakSupervisionError(
            f"expected probabilities of the shape of the allowed tags, {tags.shape}, got {p.shape}; "
            "leave the noise category out of both"
        )
    bad = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)).all(axis=1))
    if bad.size:
        raise WeakSupervisionError(
            f"expected probabilities in [0, 1], but {bad.size} of {len(p)} instances (the first is {bad[0]}) have "
            "others or NaN; pass the attention maps through a sigmoid and skip empty boxes"
        )
    return tags, p


def _check_edges(edges: ArrayLike, weights: ArrayLike, n: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    e = np.asarray(edges)
    if e.size == 0:
        e = np.empty((0, 2), np.int32)
    w = np.asarray(weights, dtype=np.float64)
    if e.ndim != 2 or e.shape[1] != 2 or not np.issubdtype(e.dtype, np.integer) or w.shape != (len(e),):
        raise WeakSupervisionError(
            f"expected edges (m, 2) of integers and weights (m,), got {e.dtype} {e.shape} and {w.shape}; "
            "rtseg.lab.weak.similarity_graph makes both"
        )
    bad = np.flatnonzero(((e < 0) | (e >= n)).any(axis=1))
    if bad.size:
        raise WeakSupervisionError(
            f"expected edges between instances 0 to {n - 1}, but edge {bad[0]} joins {e[bad[0], 0]} and "
            f"{e[bad[0], 1]}; build the graph from the same instances as the probabilities"
        )
    bad = np.flatnonzero(e[:, 0] == e[:, 1])
    if bad.size:
        raise WeakSupervisionError(
            f"expected edges between different instances (W_ii = 0 in eq 5), but edge {bad[0]} joins instance "
            f"{e[bad[0], 0]} to itself; drop it"
        )
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0.0)))
    if bad.size:
        raise WeakSupervisionError(
            f"expected finite weights >= 0, but edge {bad[0]} weighs {w[bad[0]]}; use cosine + 1 (eq 5)"
        )
    return e.astype(np.int32, copy=False), w
