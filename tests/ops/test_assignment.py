from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rtseg.errors import ArgumentError
from rtseg.ops.assignment import assign

matrices = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(0, 10) | st.just(np.inf))
)


def paid(cost: NDArray[np.float64], columns: NDArray[np.int32], limit: float) -> float:
    """What an assignment costs: its pairs, and `limit` for every row without one."""
    return float(sum(limit if column < 0 else cost[row, column] for row, column in enumerate(columns)))


@given(matrices, st.floats(0, 12))
def test_is_as_cheap_as_scipys(cost: NDArray[np.float64], limit: float) -> None:
    columns = assign(cost, limit)
    rows = len(cost)
    taken = columns[columns >= 0]
    assert len(set(taken.tolist())) == len(taken)
    assert all(cost[row, column] <= limit for row, column in enumerate(columns) if column >= 0)
    padded = np.hstack([np.where(cost <= limit, cost, 1e6), np.full((rows, rows), limit)])
    best = padded[linear_sum_assignment(padded)].sum()
    assert paid(cost, columns, limit) == pytest.approx(best)


def test_gives_up_a_cheap_pair_for_two_good_ones() -> None:
    assert assign(np.array([[0.0, 0.1], [0.2, 5.0]]), 1.0).tolist() == [1, 0]


def test_refuses_what_is_no_cost() -> None:
    for cost in (np.array([[np.nan]]), np.array([[-1.0]]), np.zeros(3)):
        with pytest.raises(ArgumentError, match="costs"):
            assign(cost, 1.0)
    with pytest.raises(ArgumentError, match="limit"):
        assign(np.zeros((1, 1)), np.inf)
