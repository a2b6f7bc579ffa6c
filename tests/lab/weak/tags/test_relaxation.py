"""The certificate: every split of the weights proves a bound; the projection behind it is the nearest point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtseg.lab.weak.tags.exact import solve_exactly
from rtseg.lab.weak.tags.program import TagProgram, build_program
from rtseg.lab.weak.tags.relaxation import Relaxation, _project, split_bound
from rtseg.lab.weak.tags.rounding import round_relaxation


def random_program(seed: int, n: int = 12, classes: int = 3) -> TagProgram:
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, n, (3 * n, 2)).astype(np.int32)
    edges = edges[edges[:, 0] != edges[:, 1]]
    allowed = rng.random((n, classes)) < 0.7
    kept = int(rng.integers(1, max(1, allowed.any(axis=1).sum()) + 1))
    allowed[0, 0] = True
    return build_program(edges, 2 * rng.random(len(edges)), rng.random((n, classes)), allowed, 3.0, kept)


@given(st.integers(0, 2**32 - 1))
def test_every_split_bounds_the_optimum(seed: int) -> None:
    program = random_program(seed)
    chosen, _ = solve_exactly(program)
    assert chosen is not None
    best = program.objective(chosen)
    share = np.random.default_rng(seed).random(len(program.pair_weights))
    for part in (share, np.zeros_like(share), np.ones_like(share)):
        bound, _ = split_bound(program, part * program.pair_weights)
        assert bound >= best - 1e-6


@given(st.integers(0, 2**32 - 1))
def test_bound_only_falls_and_x_stays_feasible(seed: int) -> None:
    program = random_program(seed)
    relaxation = Relaxation(program)
    before = relaxation.bound
    for _ in range(5):
        relaxation.advance(20)
        assert relaxation.bound <= before
        before = relaxation.bound
        assert relaxation.x.min() >= 0
        assert np.bincount(program.slot_vertex, relaxation.x).max() <= 1 + 1e-9
        assert relaxation.x.sum() == pytest.approx(program.kept, rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_rounding_keeps_the_constraints_and_gains_by_no_single_move(seed: int, settled: bool) -> None:
    program = random_program(seed)
    x = np.random.default_rng(seed).random(len(program.scores))
    if settled:
        relaxation = Relaxation(program)
        relaxation.advance(100)
        x = relaxation.x
    chosen = round_relaxation(program, x, program.scores)
    assert (chosen >= 0).sum() == program.kept
    for j, slot in enumerate(chosen):
        if slot >= 0:
            assert program.slot_vertex[slot] == j
            for other in range(program.vertex_slots[j], program.vertex_slots[j + 1]):
                moved = chosen.copy()
                moved[j] = other
                assert program.objective(moved) <= program.objective(chosen) + 1e-9


@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=6))
@example([1.0, 1.0, 1.0])
@example([0.1 + 0.2, 0.3, 0.3, 0.3])
@example([1e300, 1.0])
def test_projection_is_the_nearest_point(values: list[float]) -> None:
    v = np.array(values)
    x = v.copy()
    _project(x, 0, len(x))
    assert x.min() >= 0
    assert x.sum() <= 1 + 1e-9
    # The nearest point of a convex set: no corner lies on the far side (variational inequality).
    for corner in (np.zeros_like(v), *np.eye(len(v))):
        assert (v - x) @ (corner - x) <= 1e-9 * max(1.0, np.abs(v).max())


def test_projection_ends_where_rounding_brings_entries_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20_000):
        size = int(rng.integers(2, 9))
        v = rng.random() + rng.integers(0, 3, size) * rng.choice([0.1, 1 / 3, 1e-16, 1.0])
        _project(v, 0, size)
        assert v.sum() <= 1 + 1e-9
