"""Optimal one-to-one assignment of rows to columns of a small cost matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.errors import ArgumentError


@compiled_in_place
def _forget(shortest, visited):  # type: ignore[no-untyped-def]
    for column in range(len(shortest)):
        shortest[column], visited[column] = np.inf, False


@compiled_in_place
def _shortest_augmenting_paths(cost, row_potential, column_potential, shortest, row_of, came_from, visited, columns_of):  # type: ignore[no-untyped-def]
    """Assign every row (rows <= columns), a shortest augmenting path each; potentials keep reduced costs positive.

    What is worked in comes from the caller: to make arrays here takes as long to compile as all the rest.
    """
    rows, columns = cost.shape
    for row in range(rows):
        row_of[columns] = row  # this column is where each search starts
        at = columns
        _forget(shortest, visited)
        while row_of[at] != -1:
            visited[at] = True
            source = row_of[at]
            step = np.inf
            following = -1
            for column in range(columns):
                if not visited[column]:
                    reduced = cost[source, column] - row_potential[source] - column_potential[column]
                    if reduced < shortest[column]:
                        shortest[column] = reduced
                        came_from[column] = at
                    if shortest[column] < step:
                        step = shortest[column]
                        following = column
            for column in range(columns + 1):
                if visited[column]:
                    row_potential[row_of[column]] += step
                    column_potential[column] -= step
                else:
                    shortest[column] -= step
            at = following
        while at != columns:
            row_of[at] = row_of[came_from[at]]
            at = came_from[at]
    for column in range(columns):
        if row_of[column] >= 0:
            columns_of[row_of[column]] = column


def assign(cost: NDArray[np.floating], limit: float) -> NDArray[np.int32]:
    """Pair rows with columns so that as little as possible is paid, an unpaired row or column costing half of `limit`.

    So no pair costs more than `limit`, and a pair is only given up where two better ones come of it.

    Args:
        cost: (n, m), not negative; infinite where a pair is impossible.
        limit: finite, not negative.

    Returns:
        (n,) int32 column of each row, -1 where it has none.

    Raises:
        ArgumentError: if the costs are NaN or negative, or the limit is.
    """
    matrix = np.asarray(cost, np.float64)
    if matrix.ndim != 2 or not (matrix >= 0).all() or not 0 <= limit < np.inf:
        raise ArgumentError(f"expected an (n, m) matrix of costs of 0 or more and a finite limit, got limit {limit}")
    rows, columns = matrix.shape
    # Each row may take a column of its own that stands for "none"; costs are relative to that.
    padded = np.full((rows, columns + rows), float(limit))
    padded[:, :columns] = np.minimum(matrix, 2 * limit + 1)
    columns_of = np.full(rows, -1, np.int64)
    if rows:
        room = columns + rows + 1
        potentials_and_lengths = np.zeros(rows), np.zeros(room), np.empty(room)
        paths = np.full(room, -1, np.int64), np.zeros(room, np.int64), np.empty(room, np.bool_)
        _shortest_augmenting_paths(padded, *potentials_and_lengths, *paths, columns_of)
    return np.where(columns_of < columns, columns_of, -1).astype(np.int32)
